import { spawnSync } from 'node:child_process'
import { accessSync, constants, realpathSync, statSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'

// The programs that tests run beside ours. Run as a program (`pretest`), this finds them, or installs them where that is our
// business: as root on a system with apt-get. Anywhere else it says how to get them, and their tests are skipped.

export interface Program {
  title: string
  /** What it may be called. */
  names: readonly string[]
  /** The variable that says where it is, and then nothing else does. */
  variable: string
  /** What brings it on Debian. */
  package: string
}

export const CHROMIUM: Program = { title: 'Chromium', names: ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'], variable: 'CHROMIUM_PATH', package: 'chromium' }
export const REDIS: Program = { title: 'Redis', names: ['redis-server', 'valkey-server'], variable: 'REDIS_SERVER_PATH', package: 'redis-server' }
export const NGINX: Program = { title: 'nginx', names: ['nginx'], variable: 'NGINX_PATH', package: 'nginx' }
export const CURL: Program = { title: 'curl', names: ['curl'], variable: 'CURL_PATH', package: 'curl' }
export const HAPROXY: Program = { title: 'HAProxy', names: ['haproxy'], variable: 'HAPROXY_PATH', package: 'haproxy' }
export const VARNISH: Program = { title: 'Varnish', names: ['varnishd'], variable: 'VARNISH_PATH', package: 'varnish' }
export const CADDY: Program = { title: 'Caddy', names: ['caddy'], variable: 'CADDY_PATH', package: 'caddy' }
const ALL = [CHROMIUM, REDIS, NGINX, HAPROXY, VARNISH, CADDY, CURL]

// Where a system keeps servers; not everybody's PATH has it.
const SERVERS = '/usr/sbin'

export function find ({ names, variable }: Program, env: NodeJS.ProcessEnv = process.env): string | undefined {
  const told = env[variable]
  if (told !== undefined) return isProgram(told) ? told : undefined
  return onPath(names, env)
}

export const missing = ({ title, package: name, variable }: Program): string => `${title} was not found: apt-get install ${name}, or set ${variable}`

/** Why a test that needs it is skipped; false where it is not. With CI=true nothing is: the test fails instead. */
export const absent = (program: Program): string | false => find(program) === undefined && process.env.CI !== 'true' ? missing(program) : false

/** Where it is; throws where it is not. */
export function need (program: Program): string {
  const found = find(program)
  if (found === undefined) throw new Error(missing(program))
  return found
}

function onPath (names: readonly string[], env: NodeJS.ProcessEnv): string | undefined {
  const folders = env.PATH === undefined ? [] : [...env.PATH.split(delimiter), SERVERS]
  return names.flatMap(name => folders.map(folder => join(folder, name))).find(isProgram)
}

function isProgram (file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return statSync(file).isFile()
  } catch {
    return false
  }
}

/** Tells what went wrong, or nothing. */
function install (names: readonly string[]): string | undefined {
  for (const args of [['update'], ['install', '-y', '--no-install-recommends', ...names]]) {
    const { status, stderr } = spawnSync('apt-get', ['-qq', '-o', 'DPkg::Lock::Timeout=300', ...args], {
      // What is installed is run by the tests, not by the system.
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' },
      stdio: ['ignore', 'ignore', 'pipe'],
      encoding: 'utf8'
    })
    if (status !== 0) return `apt-get ${args[0]}: ${stderr.trim().split('\n').at(-1)}`
  }
}

function main (): void {
  let failure: string | undefined
  const wanted = ALL.filter(program => find(program) === undefined && process.env[program.variable] === undefined)
  if (wanted.length > 0 && process.getuid?.() === 0 && onPath(['apt-get'], process.env) !== undefined) {
    console.log(`Installing ${wanted.map(({ title }) => title).join(', ')} for the tests …`)
    failure = install(wanted.map(program => program.package))
  }
  for (const program of ALL) {
    const found = find(program)
    if (found !== undefined) console.log(`${program.title}: ${found}`)
    else console.log(failure === undefined ? missing(program) : `${missing(program)} (${failure})`)
  }
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) main()
