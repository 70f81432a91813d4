import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { within } from '../setup/within.ts'
import type { Ledger } from './ledger.ts'
import type { Answer, News, Order } from './messages.ts'
import type { StoreName } from './store.ts'

interface Surroundings {
  log: StoreName
  /** The port of the server of the log. */
  storePort: () => number
  /** The file of its log. */
  folder: string
  seed: number
  /** Numbers the incarnations of all nodes. */
  nextPublisher: () => number
  ledger: Ledger
}

const PROGRAM = fileURLToPath(new URL('node.ts', import.meta.url))
// A busy machine compiles slowly.
const START = 90_000

/** One of the nodes, in its current incarnation. */
export class Member {
  readonly index: number
  readonly log: string
  /** Its port; undefined while it does not listen. */
  port: number | undefined
  publisher = 0
  readonly #surroundings: Surroundings
  #process: ChildProcess | undefined
  readonly #waiting = new Set<(news: News) => void>()

  constructor (index: number, surroundings: Surroundings) {
    this.index = index
    this.log = join(surroundings.folder, `node-${index}.log`)
    this.#surroundings = surroundings
  }

  toString (): string { return `node ${this.index} (publisher ${this.publisher})` }

  /** Resolves when it listens. */
  async start (): Promise<void> {
    const { log, storePort, seed, nextPublisher, ledger } = this.#surroundings
    const publisher = this.publisher = nextPublisher()
    const file = openSync(this.log, 'a')
    const child = spawn(process.execPath, ['--import', 'tsx', PROGRAM, log, String(storePort()),
      String(publisher), String(seed + publisher)], { stdio: ['ignore', file, file, 'ipc'] })
    closeSync(file)
    this.#process = child
    child.on('message', (news: News) => {
      // Messages that it sent before it was killed may be read later. They belong to that incarnation.
      if (news.news === 'settled') {
        for (const acknowledged of news.acknowledged) ledger.acknowledge(publisher, acknowledged)
        for (const [,, reason] of news.refused) ledger.refuse(reason)
      } else if (this.#process === child) {
        for (const listener of this.#waiting) listener(news)
      }
    })
    const { port } = await within(`${this} listens`, Promise.race([
      this.#news('listening'),
      once(child, 'exit').then(([code, signal]) => { throw new Error(`${this} did not start: ${code ?? signal}`) })
    ]), START)
    this.port = port
  }

  /** Kills it like a power cut. Resolves when all its messages are read. */
  async kill (): Promise<void> {
    const child = this.#process
    this.port = undefined
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const over = Promise.all([once(child, 'exit'), child.connected ? once(child, 'disconnect') : undefined])
    child.kill('SIGKILL')
    await over
  }

  publish (rate: number): void {
    this.#say({ order: 'publish', rate })
  }

  burst (channel: number, events: number): Promise<Answer<'burst'>> {
    return this.#send({ order: 'burst', channel, events })
  }

  rest (): Promise<Answer<'rest'>> {
    return this.#send({ order: 'rest' })
  }

  heads (): Promise<Answer<'heads'>> {
    return this.#send({ order: 'heads' })
  }

  /** The last lines of its log. */
  lastWords (lines: number): string[] { return readFileSync(this.log, 'utf8').trimEnd().split('\n').slice(-lines) }

  #say (order: Order): void { this.#process!.send(order) }

  #send<N extends 'burst' | 'rest' | 'heads'> (order: Order & { order: N }): Promise<Answer<N>> {
    const answer = this.#news(order.order as N)
    this.#say(order)
    return within(`${this} answers to ${order.order}`, answer, 60_000)
  }

  #news<N extends News['news']> (name: N): Promise<Answer<N>> {
    return new Promise(resolve => {
      const listener = (news: News): void => {
        if (news.news !== name) return
        this.#waiting.delete(listener)
        resolve(news as Answer<N>)
      }
      this.#waiting.add(listener)
    })
  }
}
