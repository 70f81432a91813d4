import t from 'tap'
import { helpOf, overview, type Command } from '../../lib/cli/help.ts'

const command: Command = {
  name: 'tail',
  text: 'Prints events.',
  options: {
    json: { text: 'as JSON' },
    header: { value: 'text', short: 'H', multiple: true, text: 'sent along' },
    seconds: { value: 'n', default: '20', text: 'how long' }
  },
  exits: { 0: 'all is well', 130: 'interrupted' },
  run: async () => 0
}

t.test('help shows the usage of a command, its options with their defaults, and its exit codes', async t => {
  t.equal(helpOf(command), `Usage: fastify-typed-sse-client tail <url> [options]

Prints events.

Options
  --json               as JSON
  -H, --header <text>  sent along; may be repeated
  --seconds <n>        how long; default 20

Exit codes
  0    all is well
  130  interrupted
`)
})

t.test('the overview names each command', async t => {
  t.match(overview([command, { ...command, name: 'doctor', text: 'Looks.' }]),
    /^ {2}tail {4}Prints events\.\n {2}doctor {2}Looks\.\n/m)
})
