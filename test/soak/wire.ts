import { connect, type Socket } from 'node:net'

/** How a response ended: complete, or with a lost connection. */
export type Ending = 'complete' | 'cut'

export interface Listener {
  head: (status: number, head: string) => void
  /** One frame, without the blank line. */
  frame: (frame: string) => void
  over: (ending: Ending) => void
}

// One buffer for all, because bytes are read at once. Thousands of sockets with their own buffers would dominate the
// measurement.
const memory = Buffer.allocUnsafe(64 * 1024)

/** One request over its own connection, and its response frame by frame, as the bytes arrive. */
export class Wire {
  readonly socket: Socket
  readonly #listener: Listener
  /** The bytes of the head so far, or of the line with a chunk's size. */
  #rest = ''
  #body = ''
  /** The remaining bytes of the chunk, or of the body. */
  #left = 0
  #state: 'head' | 'size' | 'chunk' | 'chunk end' | 'length' | 'over' = 'head'

  constructor (port: number, path: string, headers: Record<string, string>, listener: Listener) {
    this.#listener = listener
    const callback = (length: number): boolean => {
      this.#take(memory.toString('latin1', 0, length))
      return true
    }
    this.socket = connect({ port, host: '127.0.0.1', onread: { buffer: memory, callback } })
    this.socket.on('error', () => {}).once('close', () => this.#end('cut'))
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
    this.socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n${lines.join('')}\r\n`)
  }

  #end (ending: Ending): void {
    if (this.#state === 'over') return
    this.#state = 'over'
    this.socket.destroy()
    this.#listener.over(ending)
  }

  #take (text: string): void {
    let at = 0
    while (at < text.length && this.#state !== 'over') {
      if (this.#state === 'chunk' || this.#state === 'length') at = this.#read(text, at)
      else at = this.#line(text, at)
    }
  }

  /** Bytes of the body. */
  #read (text: string, at: number): number {
    const part = text.slice(at, at + this.#left)
    this.#left -= part.length
    const frames = (this.#body + part).split('\n\n')
    this.#body = frames.pop()!
    for (const frame of frames) this.#listener.frame(frame)
    if (this.#left > 0) return at + part.length
    if (this.#state === 'length') this.#end('complete')
    else this.#state = 'chunk end'
    return at + part.length
  }

  /** Bytes around the body. */
  #line (text: string, at: number): number {
    const mark = this.#state === 'head' ? '\r\n\r\n' : '\r\n'
    const before = this.#rest.length
    const all = this.#rest + text.slice(at)
    const end = all.indexOf(mark, Math.max(0, before - mark.length))
    if (end === -1) {
      this.#rest = all
      return text.length
    }
    this.#rest = ''
    const line = all.slice(0, end)
    if (this.#state === 'head') this.#begin(line)
    else if (this.#state === 'chunk end') this.#state = 'size'
    else this.#begins(parseInt(line, 16))
    return at + end + mark.length - before
  }

  #begin (head: string): void {
    const length = /^content-length: (\d+)$/im.exec(head)?.[1]
    this.#state = length === undefined ? 'size' : 'length'
    this.#left = Number(length ?? 0)
    this.#listener.head(Number(head.slice(9, 12)), head)
    if (this.#state === 'length' && this.#left === 0) this.#end('complete')
  }

  #begins (size: number): void {
    if (size === 0) return this.#end('complete')
    this.#state = 'chunk'
    this.#left = size
  }
}
