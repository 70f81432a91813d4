import { Session } from 'node:inspector/promises'

// Microseconds between two samples. V8's default of a millisecond would need a run of minutes.
const INTERVAL = 200

const session = new Session()

/** Starts to sample the main thread. */
export async function start () {
  session.connect()
  await session.post('Profiler.enable')
  await session.post('Profiler.setSamplingInterval', { interval: INTERVAL })
  await session.post('Profiler.start')
}

/** Returns microseconds of self time by function: its file, line and name. */
export async function stop () {
  const { profile: { nodes, samples, timeDeltas } } = await session.post('Profiler.stop')
  session.disconnect()
  const functions = new Map(nodes.map(({ id, callFrame: { url, lineNumber, functionName } }) =>
    [id, JSON.stringify([url, lineNumber + 1, functionName])]))
  const times = {}
  samples.forEach((id, index) => {
    const key = functions.get(id)
    // The time until the next sample.
    times[key] = (times[key] ?? 0) + (timeDeltas[index + 1] ?? 0)
  })
  return Object.entries(times).map(([key, time]) => [...JSON.parse(key), time])
}
