import { Comparison } from './comparison.ts'
import type { Contestant } from './contestant.ts'
import { Reader } from './reader.ts'

const CONNECTIONS = 20
const EVENTS = 10

/** Short streams one after the other, over kept-alive connections. */
export function shortStreams (
  contestants: readonly Contestant[],
  { rounds, streams }: { rounds: number, streams: number }
): Promise<Comparison> {
  const what = `${
    streams.toLocaleString('en-US')
  } streams of ${EVENTS} small events, ${CONNECTIONS} kept-alive connections`
  return Comparison.of({ name: 'short streams', what, unit: 'stream', amount: streams }, contestants, rounds,
    async ({ port }) => {
      const readers = await Promise.all(Array.from({ length: CONNECTIONS }, () => Reader.open(port)))
      const startedAt = performance.now()
      let left = streams
      await Promise.all(readers.map(async reader => {
        while (left-- > 0) await reader.read(`/${EVENTS}`, EVENTS)
      }))
      const seconds = (performance.now() - startedAt) / 1000
      for (const reader of readers) reader.close()
      return seconds
    })
}
