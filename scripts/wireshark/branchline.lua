-- SPDX-License-Identifier: Apache-2.0
--
-- Wireshark dissector for what Branchline puts on a WAN: UDP port 2426. bpf/wire.h and schema/mpinit.ts define it, docs/wire.md explains it.
--
--   wireshark -X lua_script:scripts/wireshark/branchline.lua capture.pcap
--   tshark    -X lua_script:scripts/wireshark/branchline.lua -r capture.pcap -Y 'branchline.type == 1 && esp'
--
-- Needs no keys: tags, macs and ciphertexts are shown, never checked or opened.

local branchline = Proto("branchline", "Branchline multipath")

local PORT = 2426
local VERSION = 1
local HEADER = 40
local TAGGED_PAYLOAD = 16
local TRIGGER = 16 -- a probe on its way to the sending program: its first byte is the path id

local TYPES = {
  [1] = "DATA",
  [2] = "PROBE",
  [3] = "PROBE_REPLY",
  [4] = "PARITY",
  [8] = "INIT",
  [9] = "RESPONSE",
  [10] = "COOKIE",
  [11] = "RESET",
  [12] = "INIT_KEM",
  [13] = "RESPONSE_KEM",
}
local DATA = 1
local PROBE_REPLY = 3

-- Least UDP payload of each handshake type; schema/mpinit.ts.
local LEAST = { [8] = 1200, [9] = 76, [10] = 64, [11] = 8, [12] = 1208, [13] = 1128 }

local f = {
  version = ProtoField.uint8("branchline.version", "Version", base.DEC, nil, 0xf0),
  type = ProtoField.uint8("branchline.type", "Type", base.DEC, TYPES, 0x0f),
  path = ProtoField.uint8("branchline.path", "Path id", base.DEC),
  class = ProtoField.uint8("branchline.class", "Class", base.DEC, nil, 0xc0),
  priority = ProtoField.uint8("branchline.priority", "Priority", base.DEC, nil, 0x38),
  flags = ProtoField.uint8("branchline.flags", "Flags", base.HEX, nil, 0x07),
  fec = ProtoField.uint8("branchline.fec", "FEC", base.HEX),
  session = ProtoField.uint32("branchline.session", "Session id (the receiver's)", base.HEX),
  number = ProtoField.uint64("branchline.number", "Packet number", base.DEC),
  timestamp = ProtoField.uint32("branchline.timestamp", "Timestamp (µs, sender's clock)", base.DEC),
  policy_version = ProtoField.uint32("branchline.policy_version", "Policy version", base.DEC),
  sequence = ProtoField.uint32("branchline.sequence", "Lane and sequence", base.HEX),
  echo = ProtoField.uint32("branchline.echo", "Echoed timestamp (µs, prober's clock)", base.DEC),
  service_path = ProtoField.uint24("branchline.service_path", "Service path id", base.DEC),
  service_index = ProtoField.uint8("branchline.service_index", "Service index", base.DEC),
  tag = ProtoField.bytes("branchline.tag", "Tag (SipHash-2-4)"),
  reserved = ProtoField.bytes("branchline.reserved", "Reserved"),
  sender = ProtoField.uint32("branchline.sender", "Sender's session id", base.HEX),
  receiver = ProtoField.uint32("branchline.receiver", "Receiver's session id", base.HEX),
  unknown = ProtoField.uint32("branchline.unknown", "Unknown session id", base.HEX),
  ephemeral = ProtoField.bytes("branchline.ephemeral", "Ephemeral public key (X25519)"),
  static = ProtoField.bytes("branchline.static", "Static public key, encrypted"),
  payload = ProtoField.bytes("branchline.payload", "Payload, encrypted"),
  mac1 = ProtoField.bytes("branchline.mac1", "mac1"),
  mac2 = ProtoField.bytes("branchline.mac2", "mac2"),
  cookie_shown = ProtoField.bool("branchline.cookie_shown", "Shows a cookie"),
  refused = ProtoField.bool("branchline.refused", "Refused"),
  nonce = ProtoField.bytes("branchline.nonce", "Nonce"),
  cookie = ProtoField.bytes("branchline.cookie", "Cookie, sealed"),
  kem_key = ProtoField.bytes("branchline.kem_key", "Encapsulation key (ML-KEM-768), encrypted"),
  kem_ciphertext = ProtoField.bytes("branchline.kem_ciphertext", "Ciphertext (ML-KEM-768), encrypted"),
  kem_tag = ProtoField.bytes("branchline.kem_tag", "Tag of the empty payload"),
  report_highest = ProtoField.uint64("branchline.report_highest", "Highest packet number received", base.DEC),
  report_packets = ProtoField.uint64("branchline.report_packets", "Packets received", base.DEC),
  trigger = ProtoField.uint8("branchline.trigger", "Probe trigger for path", base.DEC),
}
branchline.fields = f

local e = {
  version = ProtoExpert.new("branchline.bad_version", "unknown version", expert.group.PROTOCOL, expert.severity.ERROR),
  type = ProtoExpert.new("branchline.bad_type", "unknown type", expert.group.PROTOCOL, expert.severity.ERROR),
  short = ProtoExpert.new("branchline.truncated", "too short for its type", expert.group.MALFORMED, expert.severity.ERROR),
  inner = ProtoExpert.new("branchline.bad_inner", "payload is no whole IP packet", expert.group.MALFORMED, expert.severity.ERROR),
  reserved = ProtoExpert.new("branchline.bad_reserved", "reserved bytes are not zero", expert.group.PROTOCOL, expert.severity.WARN),
}
branchline.experts = e

local ipv4 = Dissector.get("ip")
local ipv6 = Dissector.get("ipv6")

-- The 40 bytes of a tagged type.
local function header(tvb, tree, kind)
  tree:add(f.path, tvb(1, 1))
  tree:add(f.class, tvb(2, 1))
  tree:add(f.priority, tvb(2, 1))
  tree:add(f.flags, tvb(2, 1))
  tree:add(f.fec, tvb(3, 1))
  tree:add(f.session, tvb(4, 4))
  tree:add(kind == PROBE_REPLY and f.echo or f.sequence, tvb(8, 4))
  tree:add(f.service_path, tvb(12, 3))
  tree:add(f.service_index, tvb(15, 1))
  tree:add(f.number, tvb(16, 8))
  tree:add(f.timestamp, tvb(24, 4))
  tree:add(f.policy_version, tvb(28, 4))
  tree:add(f.tag, tvb(32, 8))
end

-- DATA, PROBE: the payload is an IP packet, which its own dissector takes from here. Of a PROBE_REPLY it begins with a report.
local function tagged(tvb, pinfo, tree, root, kind)
  if tvb:reported_len() < HEADER + TAGGED_PAYLOAD then
    tree:add_proto_expert_info(e.short)
    return
  end
  header(tvb, tree, kind)
  local info = string.format("%s session 0x%08x path %d number %s", TYPES[kind], tvb(4, 4):uint(), tvb(1, 1):uint(), tostring(tvb(16, 8):uint64()))
  pinfo.cols.info = info
  if kind == PROBE_REPLY then
    tree:add(f.report_highest, tvb(HEADER, 8))
    tree:add(f.report_packets, tvb(HEADER + 8, 8))
    return
  end
  local family = tvb(HEADER, 1):bitfield(0, 4)
  local inner = tvb(HEADER):tvb()
  tree:set_len(HEADER)
  local dissector = family == 4 and ipv4 or family == 6 and ipv6
  -- A payload that is cut short makes its own dissector throw.
  if not dissector or not pcall(dissector.call, dissector, inner, pinfo, root) then tree:add_proto_expert_info(e.inner) end
  -- A host's packet speaks for itself in the list of packets; a probe's trigger says less than the probe.
  if kind ~= DATA then pinfo.cols.info = info end
end

local handshake = {}

-- INIT: sender, Noise message 1 (e, s, payload), mac1, mac2.
handshake[8] = function(tvb, pinfo, tree)
  local length = tvb:reported_len()
  tree:add(f.sender, tvb(4, 4))
  tree:add(f.ephemeral, tvb(8, 32))
  tree:add(f.static, tvb(40, 48))
  tree:add(f.payload, tvb(88, length - 88 - 32))
  tree:add(f.mac1, tvb(length - 32, 16))
  local mac2 = tvb(length - 16, 16)
  tree:add(f.mac2, mac2)
  local shown = mac2:bytes():tohex() ~= string.rep("00", 16)
  tree:add(f.cookie_shown, mac2, shown):set_generated()
  return string.format("INIT from 0x%08x%s", tvb(4, 4):uint(), shown and " with a cookie" or "")
end

-- RESPONSE: sender (0: refused), receiver, Noise message 2 (e, payload), mac1.
handshake[9] = function(tvb, pinfo, tree)
  local length = tvb:reported_len()
  local sender = tvb(4, 4)
  tree:add(f.sender, sender)
  tree:add(f.refused, sender, sender:uint() == 0):set_generated()
  tree:add(f.receiver, tvb(8, 4))
  tree:add(f.ephemeral, tvb(12, 32))
  tree:add(f.payload, tvb(44, length - 44 - 16))
  tree:add(f.mac1, tvb(length - 16, 16))
  local what = sender:uint() == 0 and "refusal" or string.format("session 0x%08x", sender:uint())
  return string.format("RESPONSE to 0x%08x: %s", tvb(8, 4):uint(), what)
end

handshake[10] = function(tvb, pinfo, tree)
  tree:add(f.receiver, tvb(4, 4))
  tree:add(f.nonce, tvb(8, 24))
  tree:add(f.cookie, tvb(32, 32))
  return string.format("COOKIE for 0x%08x", tvb(4, 4):uint())
end

handshake[11] = function(tvb, pinfo, tree)
  tree:add(f.unknown, tvb(4, 4))
  return string.format("RESET: session 0x%08x is unknown", tvb(4, 4):uint())
end

handshake[12] = function(tvb, pinfo, tree)
  tree:add(f.sender, tvb(4, 4))
  tree:add(f.kem_key, tvb(8, 1200))
  return string.format("INIT_KEM from 0x%08x", tvb(4, 4):uint())
end

handshake[13] = function(tvb, pinfo, tree)
  tree:add(f.receiver, tvb(4, 4))
  tree:add(f.kem_ciphertext, tvb(8, 1104))
  tree:add(f.kem_tag, tvb(1112, 16))
  return string.format("RESPONSE_KEM to 0x%08x", tvb(4, 4):uint())
end

local function untagged(tvb, pinfo, tree, kind)
  if tvb:reported_len() < LEAST[kind] then
    tree:add_proto_expert_info(e.short)
    return
  end
  local reserved = tvb(1, 3)
  tree:add(f.reserved, reserved)
  if reserved:uint() ~= 0 then tree:add_proto_expert_info(e.reserved) end
  pinfo.cols.info = handshake[kind](tvb, pinfo, tree)
end

function branchline.dissector(tvb, pinfo, root)
  if tvb:len() == 0 then return 0 end
  pinfo.cols.protocol = "Branchline"
  local tree = root:add(branchline, tvb())
  if tvb:reported_len() == TRIGGER and tvb(0, 1):uint() < 16 then
    tree:add(f.trigger, tvb(0, 1))
    pinfo.cols.info = string.format("probe trigger for path %d", tvb(0, 1):uint())
    return tvb:len()
  end
  local version, kind = tvb(0, 1):bitfield(0, 4), tvb(0, 1):bitfield(4, 4)
  tree:add(f.version, tvb(0, 1))
  tree:add(f.type, tvb(0, 1))
  tree:append_text(", " .. (TYPES[kind] or "unknown type"))
  if version ~= VERSION then
    tree:add_proto_expert_info(e.version)
  elseif handshake[kind] then
    untagged(tvb, pinfo, tree, kind)
  elseif TYPES[kind] then
    tagged(tvb, pinfo, tree, root, kind)
  else
    tree:add_proto_expert_info(e.type)
  end
  return tvb:len()
end

DissectorTable.get("udp.port"):add(PORT, branchline)
