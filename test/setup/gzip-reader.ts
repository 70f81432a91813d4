import { get, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import { constants, createGunzip } from 'node:zlib'
import { until } from './until.ts'

/** A client of one stream, which decodes gzip piece by piece. */
export class GzipReader {
  /** The decoded text so far. */
  text = ''
  /** Bytes of the body so far. */
  bytes = 0
  readonly raw: Buffer[] = []
  readonly headers: IncomingHttpHeaders
  readonly pause: () => void
  readonly resume: () => void
  readonly destroy: () => void
  /** Resolves to 'end' after a correct checksum and length, to 'closed' after `destroy`, or to an error's code. */
  readonly over: Promise<string>

  private constructor (response: IncomingMessage) {
    this.headers = response.headers
    this.pause = () => { response.pause() }
    this.resume = () => { response.resume() }
    this.destroy = () => { response.destroy() }
    const body = response.headers['content-encoding'] === 'gzip'
      ? createGunzip({ flush: constants.Z_SYNC_FLUSH })
      : undefined
    response.on('data', (chunk: Buffer) => {
      this.bytes += chunk.length
      this.raw.push(chunk)
      body?.write(chunk)
    })
    response.on('end', () => body?.end())
    const decoded = body ?? response
    decoded.on('data', (chunk: Buffer) => { this.text += chunk.toString('latin1') })
    this.over = new Promise(resolve => {
      const failed = (error: NodeJS.ErrnoException): void => resolve(error.code ?? error.message)
      response.on('error', failed)
      decoded.on('error', failed)
      decoded.on('end', () => resolve('end'))
      response.on('close', () => { if (!response.complete) resolve('closed') })
    })
  }

  /** The decoded text as UTF-8. */
  get decoded (): string { return Buffer.from(this.text, 'latin1').toString() }

  static open (port: number, path = '/', headers: Record<string, string> = {}): Promise<GzipReader> {
    return new Promise((resolve, reject) => {
      get({ port, host: '127.0.0.1', path, agent: false, headers: { 'accept-encoding': 'gzip', ...headers } },
        response => resolve(new GzipReader(response))).on('error', reject)
    })
  }

  has (text: string): Promise<void> {
    return until(JSON.stringify(text), () => this.decoded.includes(text))
  }
}
