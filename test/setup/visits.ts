import { setTimeout as pause } from 'node:timers/promises'
import { open } from './raw.ts'
import { dice } from './remote-log.ts'
import { within } from './within.ts'

/** Opens streams of `/room?as=m1` at random servers, 25 at once, and closes each at a random moment. */
export async function visits (ports: readonly number[], count: number, seed: number): Promise<void> {
  const die = dice(seed)
  let next = 0
  const visit = async (): Promise<void> => {
    while (next < count) {
      const client = await open(ports[die(ports.length)]!, { path: `/room?as=m${next++ % 400}` })
      // Before the first byte, after the head, at the start, within the call of the log, and later.
      const stage = die(5)
      if (stage === 1) await within('the head', client.until('\r\n\r\n'))
      if (stage > 1) await within('the start', client.until('live\n'))
      if (stage % 2 === 1) for (let turns = die(12); turns > 0; turns--) await new Promise(setImmediate)
      if (stage === 4) await pause(die(20))
      if (die(2) === 0) client.reset()
      else client.socket.destroy()
    }
  }
  await Promise.all(Array.from({ length: 25 }, visit))
}

/** Returns what is wrong with a sequence of changes that begins and ends without members, such as `join a`. */
export function faultsOf (changes: readonly string[]): string[] {
  const here = new Set<string>()
  const faults = changes.filter(change => {
    const [event, member = ''] = change.split(' ')
    const wrong = here.has(member) !== (event === 'leave')
    if (event === 'join') here.add(member)
    else here.delete(member)
    return wrong
  })
  return [...faults, ...[...here].map(member => `${member} stays`)]
}
