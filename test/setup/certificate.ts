import { generateKeyPairSync, sign } from 'node:crypto'

// A self-signed certificate for 127.0.0.1 (RFC 5280), created by each test that needs one, so no key is stored.

const encode = (tag: number, ...parts: Buffer[]): Buffer => {
  const content = Buffer.concat(parts)
  const { length } = content
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from([tag, ...size]), content])
}
const sequence = (...parts: Buffer[]): Buffer => encode(0x30, ...parts)
const identifier = (hex: string): Buffer => encode(0x06, Buffer.from(hex, 'hex'))
const pem = (label: string, der: Buffer): string =>
  `-----BEGIN ${label}-----\n${der.toString('base64').replace(/.{64}/g, '$&\n').trimEnd()}\n-----END ${label}-----\n`

const ECDSA_WITH_SHA256 = sequence(identifier('2a8648ce3d040302'))
const COMMON_NAME = identifier('550403')
const ALTERNATIVE_NAME = identifier('551d11')

export function certificate (): { key: string, cert: string } {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
  const name = sequence(encode(0x31, sequence(COMMON_NAME, encode(0x0c, Buffer.from('localhost')))))
  const names = sequence(encode(0x87, Buffer.from([127, 0, 0, 1])), encode(0x82, Buffer.from('localhost')))
  const told = sequence(
    encode(0xa0, encode(0x02, Buffer.from([2]))),
    encode(0x02, Buffer.from([1])),
    ECDSA_WITH_SHA256,
    name,
    sequence(...['20000101000000Z', '20990101000000Z'].map(time => encode(0x18, Buffer.from(time)))),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    encode(0xa3, sequence(sequence(ALTERNATIVE_NAME, encode(0x04, names))))
  )
  const signature = encode(0x03, Buffer.from([0]), sign('sha256', told, privateKey))
  return {
    key: String(privateKey.export({ type: 'pkcs8', format: 'pem' })),
    cert: pem('CERTIFICATE', sequence(told, ECDSA_WITH_SHA256, signature))
  }
}
