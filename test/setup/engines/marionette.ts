import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import type { Owner } from './engine.ts'

type Answer = [type: 1, id: number, error: { error: string, message: string } | null, result: unknown]

/** A connection to Firefox, whose commands are those of WebDriver. Each message is its length, a colon and JSON. */
export class Marionette {
  readonly #socket: Socket
  readonly #waiting = new Map<number, { resolve: (result: unknown) => void, reject: (error: Error) => void }>()
  #bytes = Buffer.alloc(0)
  #id = 0

  private constructor (socket: Socket) {
    this.#socket = socket
    socket.on('data', bytes => this.#read(bytes))
    socket.on('error', () => {})
    socket.on('close', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error('Firefox is gone'))
    })
  }

  static async connect (t: Owner, port: number): Promise<Marionette> {
    const socket = connect(port, '127.0.0.1')
    t.teardown(() => { socket.destroy() })
    await once(socket, 'connect')
    return new Marionette(socket)
  }

  ask (command: string, parameters: object = {}): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#socket.destroyed) throw new Error('Firefox is gone')
      const message = JSON.stringify([0, ++this.#id, `WebDriver:${command}`, parameters])
      this.#waiting.set(this.#id, { resolve, reject })
      this.#socket.write(`${Buffer.byteLength(message)}:${message}`)
    })
  }

  #read (bytes: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, bytes])
    for (;;) {
      const colon = this.#bytes.indexOf(':')
      const end = colon + 1 + Number(this.#bytes.subarray(0, colon))
      if (colon === -1 || this.#bytes.length < end) return
      const message = JSON.parse(String(this.#bytes.subarray(colon + 1, end))) as Answer | object
      this.#bytes = this.#bytes.subarray(end)
      // The first message is a greeting.
      if (Array.isArray(message)) this.#answer(message as Answer)
    }
  }

  #answer ([, id, error, result]: Answer): void {
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    if (error === null) waiting?.resolve(result)
    else waiting?.reject(new Error(`${error.error}: ${error.message}`))
  }
}
