/** The test file that every scanner knows (https://www.eicar.org/download-anti-malware-testfile). In two parts, so that none takes this source for it. */
export const EICAR = ['X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR', '-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*'].join('')
