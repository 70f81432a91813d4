import type { Examination } from './examination.ts'
import { note, probeOf, problem, timeText, type Probe } from './finding.ts'

/** What HEAD gets: a head, and that is all. */
export function headRequest ({ head: { head, end } }: Examination): Probe {
  if (end.how === 'left') {
    return probeOf('HEAD', `open for ${timeText(end.at)}`, [problem('The answer to HEAD does not end: monitors, link checkers and `curl -I` wait for it, and each of them is a stream for the server.', 'end the answer to HEAD after its head')])
  }
  if (head === undefined) return probeOf('HEAD', 'no answer', [note(`There is no answer to HEAD: ${end.error?.message ?? 'the connection ended'}.`)])
  const summary = `${head.status}, over after ${timeText(end.at)}`
  return probeOf('HEAD', summary, head.status < 400 ? [] : [note(`HEAD gets ${head.status}, which monitors, link checkers and \`curl -I\` take for a failure.`)])
}
