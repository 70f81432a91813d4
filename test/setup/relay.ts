import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'

/** One that came, and the connection that was made for it. */
interface Pair {
  down: Socket
  up: Socket
  /** Bytes from the server that were not handed on. */
  lost: number
}

/** Hands on bytes between clients and one of several servers, the next one that is there for each connection. */
export class Relay {
  readonly #server: Server
  readonly #ports: () => readonly number[]
  readonly #pairs = new Set<Pair>()
  #turn = 0
  #losing = false
  #last: { text: string, reached: () => void } | undefined

  private constructor (ports: () => readonly number[]) {
    this.#ports = ports
    this.#server = createServer(down => this.#accept(down))
  }

  /** `ports` are those of the servers that are there at the moment. */
  static async start (t: { teardown: (fn: () => unknown) => unknown }, ports: () => readonly number[]): Promise<Relay> {
    const relay = new Relay(ports)
    relay.#server.listen(0, '127.0.0.1')
    await once(relay.#server, 'listening')
    t.teardown(() => {
      relay.#server.close()
      relay.cut()
    })
    return relay
  }

  get port (): number { return (this.#server.address() as AddressInfo).port }

  /** How many connections there are. */
  get size (): number { return this.#pairs.size }

  /** Bytes that were taken from the server for the connection that came from a port. */
  taken (port: number | undefined): number {
    for (const { down, up } of this.#pairs) if (down.remotePort === port) return up.bytesRead
    return -1
  }

  /** From now on, what the servers answer arrives nowhere, also on connections that come later, until all is cut; or only on those that are there. */
  lose (later = true): void {
    this.#losing = later
    for (const pair of this.#pairs) this.#loseOf(pair)
  }

  /** Whether something was lost on every connection. */
  get hasLost (): boolean { return [...this.#pairs].every(({ lost }) => lost > 100) }

  /** All connections break off, with what was on its way. */
  cut (): void {
    this.#losing = false
    for (const { down, up } of this.#pairs) {
      down.resetAndDestroy()
      up.destroy()
    }
    this.#pairs.clear()
  }

  /** Hands on what a server says up to this text, on the first connection where it is said, and nothing of what comes after it. Resolves when it did. */
  holdAfter (text: string): Promise<void> {
    return new Promise(resolve => {
      this.#last = { text: Buffer.from(text).toString('latin1'), reached: resolve }
      for (const pair of this.#pairs) this.#listenTo(pair)
    })
  }

  #accept (down: Socket): void {
    const ports = this.#ports()
    const first = this.#turn++ % Math.max(1, ports.length)
    down.on('error', () => {})
    this.#connect(down, [...ports.slice(first), ...ports.slice(0, first)])
  }

  #connect (down: Socket, [port, ...others]: readonly number[]): void {
    if (down.destroyed) return
    if (port === undefined) {
      down.destroy()
      return
    }
    const up = connect(port, '127.0.0.1').on('error', () => {})
    const next = (): void => this.#connect(down, others)
    up.once('close', next)
    up.once('connect', () => {
      up.off('close', next)
      this.#join({ down, up, lost: 0 })
    })
  }

  #join (pair: Pair): void {
    const { down, up } = pair
    this.#pairs.add(pair)
    const over = (): void => {
      this.#pairs.delete(pair)
      up.destroy()
      // What the server said before it left still arrives.
      if (up.readableEnded) down.end()
      else down.destroy()
    }
    up.once('close', over)
    down.once('close', over).once('end', over)
    if (down.destroyed) return over()
    down.pipe(up)
    up.pipe(down)
    if (this.#losing) this.#loseOf(pair)
    if (this.#last !== undefined) this.#listenTo(pair)
  }

  #listenTo (pair: Pair): void {
    const { down, up } = pair
    let said = ''
    const listen = (bytes: Buffer): void => {
      const before = said.length
      said += bytes.toString('latin1')
      const at = this.#last === undefined ? -1 : said.indexOf(this.#last.text)
      if (at === -1) {
        down.write(bytes)
        return
      }
      const { text, reached } = this.#last!
      this.#last = undefined
      up.off('data', listen)
      this.#loseOf(pair)
      down.write(bytes.subarray(0, at + text.length - before), () => reached())
    }
    up.unpipe(down)
    up.on('data', listen).resume()
  }

  #loseOf (pair: Pair): void {
    pair.up.unpipe(pair.down)
    pair.up.on('data', bytes => { pair.lost += bytes.length }).resume()
  }
}
