import { describe, expect, it } from 'vitest'
import { servicesSchema } from './config.ts'

const run = '/opt/branchline/vagrant/functions/nat/run'
const nat = { name: 'nat', driver: { kind: 'namespace', run }, nat: true }
const upstream = { interface: 'up0', addresses: ['198.51.100.7', '2001:db8::7'] }
const remote = { kind: 'remote', instances: [{ name: 'av1', addresses: ['192.0.2.7'] }] }
const issues = (value: unknown) =>
  servicesSchema.safeParse(value).error?.issues.map(({ path, message }) => `${path.join('.')}: ${message}`)

it('fills in what a NAT by namespaces needs', () => {
  const [filled] = servicesSchema.parse({ functions: [nat], upstream }).functions
  expect(filled).toMatchObject({
    driver: { kind: 'namespace', run, plumb: '/opt/branchline/vagrant/functions/plumb' },
    attachment: { kind: 'ethernet', arms: 2 },
    balance: 'turns',
    min: 1,
    health: { kind: 'none' },
  })
})

it('takes the defaults of AWS Gateway Load Balancer for health checks', () => {
  const [filled] = servicesSchema.parse({ functions: [{ ...nat, health: { kind: 'http' } }], upstream }).functions
  expect(filled?.health).toMatchObject({ intervalMs: 10_000, changes: 2, path: '/' })
})

describe('refuses', () => {
  it.each([
    ['the same name twice', { functions: [nat, nat], upstream }, 'functions.1.name: nat is used twice'],
    ['NAT without addresses', { functions: [nat] }, 'functions.0.nat: needs addresses of upstream'],
    [
      'a machine far away by Ethernet',
      { functions: [{ name: 'av', driver: remote }] },
      'functions.0.attachment: remote instances are reached by ipip or geneve',
    ],
    [
      'more that run idle than there may be',
      { functions: [{ name: 'dpi', driver: nat.driver, min: 8, warm: 1 }] },
      'functions.0.perEnterprise: must be at least min + warm, 9',
    ],
    [
      'a virtual machine of nothing',
      { functions: [{ name: 'dpi', driver: { kind: 'qemu' } }] },
      'functions.0.driver: needs a kernel or a disk',
    ],
    [
      'a misspelt member',
      { functions: [{ ...nat, blance: 'hash' }], upstream },
      'functions.0: Unrecognized key: "blance"',
    ],
  ])('%s', (_name, value, message) => {
    expect(issues(value)).toEqual([message])
  })
})
