import t from 'tap'
import { note, probeOf, problem, warning } from '../../../lib/cli/doctor/finding.ts'
import { report } from '../../../lib/cli/doctor/report.ts'

t.test('the report has a line for each probe, then the findings, the worst first', async t => {
  const probes = [
    probeOf('answer', '200', []),
    probeOf('protocol', 'HTTP/1.1', [note('It is old.', 'HTTP/2')]),
    probeOf('CORS', 'nothing', [problem('No page can read it.', 'cors'), warning('Odd.')])
  ]
  t.equal(report(probes, (_style, text) => text), `ok       answer    200
note     protocol  HTTP/1.1
PROBLEM  CORS      nothing

PROBLEM  CORS: No page can read it.
         Set: cors

warning  CORS: Odd.

note     protocol: It is old.
         Set: HTTP/2
`)
})

t.test('long texts wrap between words, indented', async t => {
  const text = report([probeOf('x', '', [warning(Array(40).fill('word').join(' '), 'y'.repeat(150))])],
    (_style, text) => text)
  const lines = text.split('\n')
  t.ok(lines.slice(2, 5).every(line => line.length <= 100 && /^(warning| {7}) {2}(x: )?word( word)*$/.test(line)))
  t.equal(lines[5], `         Set: ${'y'.repeat(150)}`)
})

t.test('text of a server controls no terminal', async t => {
  t.equal(report([probeOf('x', '\x1b[2J', [problem('\x07')])], (style, text) => `<${style}>${text.trim()}</>`),
    '<red>PROBLEM</>  x  \\u001b[2J\n\n<red>PROBLEM</>  x: \\u0007\n')
})
