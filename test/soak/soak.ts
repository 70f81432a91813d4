import { setTimeout as pause } from 'node:timers/promises'
import type { Stats } from 'fastify-typed-sse'
import type { Owner } from '../chaos/world.ts'
import { until } from '../setup/until.ts'
import { Worker } from './worker.ts'
import type { CrowdDuties } from './crowd.ts'
import { Figures } from './member.ts'
import type { ServerDuties } from './server.ts'

export interface Plan {
  seconds: number
  connections: number
  seed: number
  /** Prints the progress. */
  say: (line: string) => void
}

/** Bytes and handles in use without clients. */
export interface Measured { heap: number, buffers: number, handles: Record<string, number> }

export interface Outcome {
  plan: Plan
  openFiles: number
  processes: number
  before: Measured
  after: Measured
  closed: Measured
  closeTime: number
  shutdownTimeout: number
  warm: Stats
  stats: Stats
  figures: Figures
  lines: Record<string, number>
  /** Clean ends with a retry delay, at the close. */
  cleanEnds: number
  /** The violations. */
  wrongs: string[]
}

const SHUTDOWN_TIMEOUT = 10_000
// Events per second on each ordinary channel.
const RATE = 2
const WARM = 3_000
/** The allowed growth: a factor, or a number of bytes. */
export const TOLERANCE = { share: 0.1, bytes: 5_000_000 }
// The connections of one client process.
const PER_CROWD = 2_500
// The other open files of a process.
const SPARE = 200

/** The limit of open files of this process, which its child processes share. */
export function openFiles (): number {
  const { userLimits } = process.report.getReport() as { userLimits: { open_files: { soft: number | 'unlimited' } } }
  return Number(String(userLimits.open_files.soft).replace('unlimited', 'Infinity'))
}

/** A server, its clients, and the violations. */
export class Soak {
  readonly plan: Plan
  readonly server: Worker<ServerDuties>
  readonly crowds: ReadonlyArray<Worker<CrowdDuties>>
  readonly wrongs: string[] = []

  private constructor (plan: Plan, server: Worker<ServerDuties>, crowds: ReadonlyArray<Worker<CrowdDuties>>) {
    this.plan = plan
    this.server = server
    this.crowds = crowds
  }

  static async start (t: Owner, plan: Plan): Promise<Soak> {
    const { connections, seed, say } = plan
    if (connections * 1.2 + SPARE > openFiles()) {
      throw new Error(`${connections} connections want more open files than ${openFiles()}: ulimit -n`)
    }
    const server = await Worker.start<ServerDuties>(t, 'server.ts', connections, SHUTDOWN_TIMEOUT, seed)
    const port = await server.call('listen')
    const count = Math.ceil(connections / PER_CROWD)
    const crowds = await Promise.all(
      Array.from({ length: count }, (_, index) =>
        Worker.start<CrowdDuties>(t, 'crowd.ts', port, connections, index, count, seed + index + 1))
    )
    say(`${connections} connections of ${count} processes to one server; a process may have ${openFiles()} files open`)
    return new Soak(plan, server, crowds)
  }

  /** Sends a command to all crowds at once. */
  all<N extends keyof CrowdDuties> (
    duty: N,
    ...details: Parameters<CrowdDuties[N]>
  ): Promise<Array<Awaited<ReturnType<CrowdDuties[N]>>>> {
    return Promise.all(this.crowds.map(crowd => crowd.call(duty, ...details)))
  }

  /** All clients connect, and events are published. */
  async gather (): Promise<void> {
    await this.server.call('publish', RATE)
    await this.all('join')
    this.plan.say('all clients are connected')
  }

  /** All clients are up to date, and the counts agree. */
  async settle (): Promise<Stats> {
    await this.server.call('revoke', 0)
    await this.server.call('publish', 0)
    await this.all('calm', await this.server.call('newest'))
    this.plan.say('all clients are up to date')
    const { connections } = this.plan
    // It is notified of the last disconnects a little later.
    await until('all other streams are closed',
      async () => (await this.server.call('stats')).streams.open <= connections)
    const stats = await this.server.call('stats')
    this.add(stats, connections)
    return stats
  }

  /** Checks that the counts of the streams add up, with that many open. */
  add ({ streams }: Stats, open: number): void {
    const closed = Object.values(streams.closed).reduce((sum, count) => sum + count)
    if (streams.open !== open) this.wrongs.push(`${streams.open} streams are open, and not ${open}`)
    if (streams.opened !== streams.open + closed) {
      this.wrongs.push(`${streams.opened} streams were opened, ${streams.open} are open and ${closed} closed`)
    }
  }

  /** All clients disconnect. Returns the use with full histories, so that two samples are comparable. */
  async empty (): Promise<Measured> {
    await this.server.call('publish', 0)
    await this.all('leave')
    await until('all streams are closed', async () => (await this.server.call('stats')).streams.open === 0)
    this.add(await this.server.call('stats'), 0)
    await until('all connections are closed', async () => !('TCPSocketWrap' in await this.server.call('handles')))
    await this.server.call('fill')
    return this.measure()
  }

  async measure (): Promise<Measured> {
    const keys = (await this.all('report')).flatMap(({ keys }) => keys)
    const { counted, ...measured } = await this.server.call('measure', keys)
    if (counted.length > 0) {
      this.wrongs.push(`${counted.length} keys count as open, among them ${counted.slice(0, 3).join(', ')}`)
    }
    return measured
  }

  compare (before: Measured, after: Measured): void {
    for (const kind of ['heap', 'buffers'] as const) {
      const most = before[kind] + Math.max(before[kind] * TOLERANCE.share, TOLERANCE.bytes)
      if (after[kind] > most) this.wrongs.push(`${kind}: ${before[kind]} bytes grew to ${after[kind]}`)
    }
    for (const kind of new Set([...Object.keys(before.handles), ...Object.keys(after.handles)])) {
      if (before.handles[kind] !== after.handles[kind]) {
        this.wrongs.push(`${kind}: ${before.handles[kind] ?? 0} handles became ${after.handles[kind] ?? 0}`)
      }
    }
  }
}

/**
 * Days of a server in minutes: its clients connect, stall, break off and reconnect, are rejected and disconnected. Then
 * it closes.
 */
export async function soak (t: Owner, plan: Plan): Promise<Outcome> {
  const soak = await Soak.start(t, plan)
  const { server, wrongs } = soak
  await soak.gather()
  await pause(WARM)
  await soak.settle()
  const before = await soak.empty()
  const warm = await server.call('stats')
  plan.say('warm, and empty')

  await soak.gather()
  await soak.all('faults')
  await server.call('revoke', Math.ceil(plan.connections / 1_000))
  await pause(plan.seconds * 1_000)
  const stats = await soak.settle()
  const after = await soak.empty()
  soak.compare(before, after)
  plan.say('empty again')

  await soak.gather()
  await soak.all('last', Math.ceil(plan.connections / 500))
  const closeTime = await server.call('close')
  const endings = (await soak.all('endings')).flat()
  const cleanEnds = endings.filter(({ ending, retry }) => ending === 'complete' && retry !== undefined).length
  if (cleanEnds < endings.length) {
    wrongs.push(`${endings.length - cleanEnds} of ${endings.length} clients did not get a clean end and a retry delay`)
  }
  if (closeTime > SHUTDOWN_TIMEOUT) wrongs.push(`close() took ${closeTime} ms of ${SHUTDOWN_TIMEOUT}`)
  soak.add(await server.call('stats'), 0)
  const closed = await soak.measure()
  const open = Object.keys(closed.handles).filter(kind => kind.startsWith('TCP') || kind === 'Timeout')
  if (open.length > 0) wrongs.push(`after close() there are ${open.join(', ')}`)

  const reports = await soak.all('report')
  const lines = await server.call('lines')
  wrongs.push(...reports.flatMap(({ wrongs }) => wrongs), ...lines.wrongs)
  const figures = sum(reports.map(({ figures }) => figures))
  wrongs.push(...disagreements(await server.call('stats'), figures))
  const code = await server.leave()
  if (code !== 0) wrongs.push(`the server ended with ${code}`)
  return {
    plan,
    openFiles: openFiles(),
    processes: soak.crowds.length,
    before,
    after,
    closed,
    closeTime,
    shutdownTimeout: SHUTDOWN_TIMEOUT,
    warm,
    stats,
    figures,
    lines: lines.counts,
    cleanEnds,
    wrongs
  }
}

/** Checks that clients received no more than the server reports, and no less than they must. */
function disagreements ({ streams, rejected, gaps, dropped, resets }: Stats, figures: Figures): string[] {
  const refused = rejected.maxStreams + rejected.maxStreamsPerKey + rejected.closing
  // Events on their way to a client that disconnects are not received.
  const most = { events: streams.events, gaps, dropped, resets, admitted: streams.opened, refused }
  const more = (Object.keys(most) as Array<keyof typeof most>).filter(name => figures[name] > most[name]).map(name =>
    `${name}: clients count ${figures[name]}, the server ${most[name]}`
  )
  if (refused <= figures.refused + figures.unanswered) return more
  return [...more,
    `${refused} requests were rejected, ${figures.refused} clients received that, and only ${figures.unanswered} did not wait for a response`]
}

function sum (all: readonly Figures[]): Figures {
  const sum = new Figures()
  for (const name of Object.keys(sum) as Array<keyof Figures>) {
    sum[name] = all.reduce((sum, figures) => sum + figures[name], 0)
  }
  return sum
}
