import { spawn } from 'node:child_process'
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, sep } from 'node:path'

// Runs the checks and the suite. The last line is "N passed, N failed". Arguments are test files and options of tap:
// with a file alone its tests run, without checks and coverage. The argument `long` runs the long programs, `streams`
// the tests of streams, for another version of Node.

/**
 * Files that start browsers, proxies, nodes or benchmarks, or that run for long: they say nothing new about coverage.
 */
const PROGRAMS = matcher(['bench', 'bench-compression', 'client/package', 'example/.*', 'documents/.*', 'types/.*',
  'package/.*', 'scenario/(ai-sdk|back-forward|both-ways|both-ways-proxies|browser|byte-cases|chaos|checks-in-a-page)',
  'scenario/(clients|compressed-clients|compressed-proxies|compression|doctor|drain|fan-out|hypermedia|inspector|kill)',
  'scenario/(machine|nginx|nodes|pace|page|polling|postgres-nodes|presence-nodes|proxies|react|rights|run-nodes)',
  'scenario/(servers|soak|tabs)'])
/**
 * The programs of `npm run test:long`, and so of `.ci/run` alone: they are under load, install packages in projects,
 * start several nodes, or repeat for one more proxy, client or engine what a program of `npm test` shows.
 */
const LONG = matcher(['bench', 'bench-compression', 'client/package', 'package/.*', 'types/messages',
  'example/(assistant|board|chat|event-log|hypermedia|nodes|presence|run|server)',
  'scenario/(ai-sdk|back-forward|both-ways|both-ways-proxies|chaos|clients|compressed-proxies|drain|fan-out|hypermedia)',
  'scenario/(inspector|kill|machine|nodes|polling|postgres-nodes|presence-nodes|proxies|react|run-nodes|soak)'])
/**
 * Files with a process of their own: scenarios count sockets, timers and memory, the checks of logs run side by side,
 * and two files look at the modules that their process has loaded.
 */
const ALONE = matcher(['scenario/.*', 'log/([a-z]+-)?checks', 'schema/packages', 'schema/sinclair-typebox'])
/** Covered files that neither read nor write streams, or whose code has no part that depends on the version of Node. */
const WITHOUT_STREAMS = matcher(['(client|testing|cli|inspector|openapi|errors|structure|validate-options)',
  '(client|openapi|schema|testing|cli|inspector|log)/.*', '(stream|server)/options', 'metrics/histogram',
  'protocols/(ai-sdk|anthropic|openai|hypermedia|mcp-options|mcp-messages|open-object|error-response|ui-messages)',
  'scenario/deploy'])
const CHECKS = ['lint', 'typecheck', 'package']

function matcher (names: readonly string[]): (file: string) => boolean {
  const pattern = new RegExp(`^test/(${names.join('|')})\\.test\\.ts$`)
  return file => pattern.test(file)
}

interface Counts { passed: number, failed: number, skipped: number }

let started = performance.now()
function time (what: string): void {
  console.log(`${what}: ${((performance.now() - started) / 1_000).toFixed(0)} s`)
  started = performance.now()
}

/** Runs a program. Resolves with its exit code. `quiet`: prints the output only if the program fails. */
function run (command: string, args: readonly string[], quiet = false): Promise<number> {
  const child = spawn(command, args, { stdio: ['inherit', quiet ? 'pipe' : 'inherit', quiet ? 'pipe' : 'inherit'] })
  const output: Buffer[] = []
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk: Buffer) => output.push(chunk))
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', code => {
      if (code !== 0) process.stdout.write(Buffer.concat(output))
      resolve(code ?? 1)
    })
  })
}

/**
 * Returns the files for tap. The tests of a folder share one process, because the start of a process costs 1.2 s of
 * CPU: it imports tap, Fastify and the coverage.
 */
function grouped (files: readonly string[]): string[] {
  const folder = join('.tap', 'groups')
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  const groups = new Map<string, string[]>()
  for (const file of files) {
    const group = ALONE(file) ? file : join(folder, `${dirname(file).replaceAll('/', '-')}.mjs`)
    groups.set(group, [...groups.get(group) ?? [], file])
  }
  for (const [group, files] of groups) {
    if (group.endsWith('.mjs')) writeFileSync(group, files.map(file => `import '../../${file}'\n`).join(''))
  }
  return [...groups.keys()].sort()
}

async function check (): Promise<void> {
  await run(process.execPath, ['--import=./test/setup/typescript.js', 'test/setup/programs.ts'])
  // Else tap loads its compiler beside ours, into each process.
  if (await run('npx', ['tap', 'build'], true) !== 0) throw new Error('tap build failed')
  if (await run('npm', ['run', '--silent', 'build']) !== 0) throw new Error('npm run build failed')
  time('programs, build')
  const codes = await Promise.all(CHECKS.map(name => run('npm', ['run', '--silent', name], true)))
  const failed = CHECKS.filter((_, index) => codes[index] !== 0)
  time(CHECKS.join(', '))
  if (failed.length > 0) throw new Error(`${failed.map(name => `npm run ${name}`).join(' and ')} failed`)
}

/** Runs tap. The whole output is in .tap/<name>.tap; failed and skipped tests are printed. */
async function suite (name: string, args: readonly string[]): Promise<Counts> {
  const record = `.tap/${name}.tap`
  const reporter = process.stdout.isTTY ? 'terse' : 'silent'
  const code = await run(process.execPath, ['node_modules/tap/dist/esm/run.mjs', 'run', `--reporter=${reporter}`,
    `--output-file=${record}`, ...args])
  const tap = readFileSync(record, 'utf8')
  const count = (name: string): number =>
    Number(tap.match(new RegExp(`^# \\{ total: .*\\b${name}: (\\d+)`, 'm'))?.[1] ?? 0)
  for (const line of tap.match(/.*# SKIP.*/g) ?? []) console.log(line.trim())
  for (const failure of tap.match(/^( *)not ok .*\n(\1 {2}---\n[^]*?\n\1 {2}\.\.\.\n)?/gm) ?? []) console.log(failure)
  // A file that ends early and missing coverage fail without a failed test.
  if (code !== 0 || count('pass') === 0) process.exitCode = 1
  time(name)
  return { passed: count('pass'), failed: count('fail'), skipped: count('skip') }
}

async function main (args: readonly string[]): Promise<void> {
  mkdirSync('.tap', { recursive: true })
  const files = readdirSync('test', { recursive: true }).map(file => join('test', String(file)).replaceAll(sep, '/'))
    .filter(file => file.endsWith('.test.ts'))
  const runs: Counts[] = []
  const programs = files.filter(PROGRAMS)
  if (args.length === 0) {
    await check()
    runs.push(await suite('covered', ['--timeout=480', ...grouped(files.filter(file => !PROGRAMS(file)))]))
    runs.push(await suite('programs', ['--disable-coverage', '--timeout=480',
      ...programs.filter(file => !LONG(file))]))
  } else if (args[0] === 'long') {
    runs.push(await suite('long', ['--disable-coverage', '--timeout=900', ...programs.filter(LONG)]))
  } else if (args[0] === 'streams') {
    const streams = files.filter(file => !PROGRAMS(file) && !WITHOUT_STREAMS(file))
    runs.push(await suite('streams', ['--disable-coverage', '--timeout=480', ...grouped(streams),
      'test/scenario/both-ways.test.ts']))
  } else {
    runs.push(await suite('last', ['--disable-coverage', ...args]))
  }
  const sum = (key: keyof Counts): number => runs.reduce((sum, counts) => sum + counts[key], 0)
  const skipped = sum('skipped')
  // A machine that is set up for the tests must run all of them.
  if (process.env.CI === 'true' && skipped > 0) {
    console.log('Skipped tests fail with CI=true')
    process.exitCode = 1
  }
  console.log(`${sum('passed')} passed, ${sum('failed')} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`)
}

await main(process.argv.slice(2)).catch((error: unknown) => {
  console.log(String(error))
  console.log('0 passed, 1 failed')
  process.exitCode = 1
})
