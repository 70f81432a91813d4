import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync, readdirSync, realpathSync, statSync } from 'node:fs'
import { delimiter, isAbsolute, join } from 'node:path'
import { fileURLToPath } from 'node:url'

// Programs that tests run. Run as a program (`pretest`), this file finds them, or installs them if it runs as root on a
// system with apt-get. Elsewhere it prints how to install them, and their tests are skipped.

export interface Program {
  title: string
  /** The possible names of its executable. */
  names: readonly string[]
  /** The environment variable with its path. If set, no other place is searched. */
  variable: string
  /** The package on Debian. */
  package: string
  /** Folders to search after those of the PATH. A star is any name. */
  folders?: readonly string[]
  /** A file that the package installs beside the executable of another package. */
  file?: string
}

export const CHROMIUM: Program = {
  title: 'Chromium',
  names: ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'],
  variable: 'CHROMIUM_PATH',
  package: 'chromium'
}
export const REDIS: Program = {
  title: 'Redis',
  names: ['redis-server', 'valkey-server'],
  variable: 'REDIS_SERVER_PATH',
  package: 'redis-server'
}
export const NGINX: Program = { title: 'nginx', names: ['nginx'], variable: 'NGINX_PATH', package: 'nginx' }
export const CURL: Program = { title: 'curl', names: ['curl'], variable: 'CURL_PATH', package: 'curl' }
export const PYTHON: Program = { title: 'Python', names: ['python3'], variable: 'PYTHON_PATH', package: 'python3' }
export const JQ: Program = { title: 'jq', names: ['jq'], variable: 'JQ_PATH', package: 'jq' }
export const HAPROXY: Program = { title: 'HAProxy', names: ['haproxy'], variable: 'HAPROXY_PATH', package: 'haproxy' }
export const VARNISH: Program = { title: 'Varnish', names: ['varnishd'], variable: 'VARNISH_PATH', package: 'varnish' }
export const CADDY: Program = { title: 'Caddy', names: ['caddy'], variable: 'CADDY_PATH', package: 'caddy' }
export const FIREFOX: Program = {
  title: 'Firefox',
  names: ['firefox-esr', 'firefox'],
  variable: 'FIREFOX_PATH',
  package: 'firefox-esr'
}
// It includes WebKit and a browser.
export const WEBKIT: Program = {
  title: 'WebKitWebDriver',
  names: ['WebKitWebDriver'],
  variable: 'WEBKIT_DRIVER_PATH',
  package: 'webkit2gtk-driver'
}
export const XVFB: Program = { title: 'Xvfb', names: ['Xvfb'], variable: 'XVFB_PATH', package: 'xvfb' }
export const POSTGRES: Program = {
  title: 'PostgreSQL',
  names: ['postgres'],
  variable: 'POSTGRES_PATH',
  package: 'postgresql',
  folders: ['/usr/lib/postgresql/*/bin']
}
export const PGBOUNCER: Program = {
  title: 'PgBouncer',
  names: ['pgbouncer'],
  variable: 'PGBOUNCER_PATH',
  package: 'pgbouncer'
}
export const PSYCOPG: Program = {
  title: 'Python with psycopg2',
  names: ['/usr/bin/python3'],
  variable: 'PSYCOPG_PYTHON_PATH',
  package: 'python3-psycopg2',
  file: '/usr/lib/python3/dist-packages/psycopg2/__init__.py'
}
const ALL = [CHROMIUM, FIREFOX, WEBKIT, XVFB, REDIS, NGINX, HAPROXY, VARNISH, CADDY, CURL, JQ, PYTHON, POSTGRES,
  PGBOUNCER, PSYCOPG]

// The folder of server programs, which is not in every PATH.
const SERVERS = '/usr/sbin'

export function find (program: Program, env: NodeJS.ProcessEnv = process.env): string | undefined {
  const { names, variable, folders = [], file } = program
  const told = env[variable]
  if (told !== undefined) return isProgram(told) ? told : undefined
  if (file !== undefined && !existsSync(file)) return undefined
  const own = folders.flatMap(folder => names.flatMap(name => matching(join(folder, name))))
  return onPath(names, env) ?? own.find(isProgram)
}

/** Returns the paths that fit a path with a star, the greatest first. */
function matching (pattern: string): string[] {
  const [before, after] = pattern.split('*') as [string, string]
  if (!existsSync(before)) return []
  const versions = readdirSync(before).sort((a, b) => b.localeCompare(a, 'en', { numeric: true }))
  return versions.map(version => before + version + after)
}

export const missing = ({ title, package: name, variable }: Program): string =>
  `${title} was not found: apt-get install ${name}, or set ${variable}`

/** Returns why a test that needs them is skipped, or false. With CI=true it is not skipped, and fails instead. */
export function absent (...programs: readonly Program[]): string | false {
  const first = programs.find(program => find(program) === undefined)
  return first !== undefined && process.env.CI !== 'true' ? missing(first) : false
}

/** Returns its path. Throws if it is not installed. */
export function need (program: Program): string {
  const found = find(program)
  if (found === undefined) throw new Error(missing(program))
  return found
}

function onPath (names: readonly string[], env: NodeJS.ProcessEnv): string | undefined {
  const folders = env.PATH === undefined ? [] : [...env.PATH.split(delimiter), SERVERS]
  return names.flatMap(name => isAbsolute(name) ? name : folders.map(folder => join(folder, name))).find(isProgram)
}

function isProgram (file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return statSync(file).isFile()
  } catch {
    return false
  }
}

/** Returns what failed, or undefined. */
function install (names: readonly string[]): string | undefined {
  for (const args of [['update'], ['install', '-y', '--no-install-recommends', ...names]]) {
    const { status, stderr } = spawnSync('apt-get', ['-qq', '-o', 'DPkg::Lock::Timeout=300', ...args], {
      // Installed services are started by the tests, not by the system.
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
