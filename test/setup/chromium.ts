import { spawnSync } from 'node:child_process'
import { accessSync, constants, realpathSync, statSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'

// The browser of the tests. Run as a program (`pretest`), this finds it, or installs it where that is our business:
// as root on a system with apt-get. Anywhere else it says how to get it, and the browser's tests are skipped.

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']

export const MISSING = 'Chromium was not found: apt-get install chromium, or set CHROMIUM_PATH'

/** A browser that runs as root, in a container, without a screen, and calls nobody but our servers. */
export const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync']

/** Where Chromium is: what CHROMIUM_PATH says, and nothing else, or the first of its names on the PATH. */
export function findChromium (env: NodeJS.ProcessEnv = process.env): string | undefined {
  if (env.CHROMIUM_PATH !== undefined) return isProgram(env.CHROMIUM_PATH) ? env.CHROMIUM_PATH : undefined
  return onPath(NAMES, env)
}

function onPath (names: readonly string[], env: NodeJS.ProcessEnv): string | undefined {
  const folders = (env.PATH ?? '').split(delimiter)
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
function install (): string | undefined {
  for (const args of [['update'], ['install', '-y', '--no-install-recommends', 'chromium']]) {
    const { status, stderr } = spawnSync('apt-get', ['-qq', '-o', 'DPkg::Lock::Timeout=300', ...args], {
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
      stdio: ['ignore', 'ignore', 'pipe'],
      encoding: 'utf8'
    })
    if (status !== 0) return `apt-get ${args[0]}: ${stderr.trim().split('\n').at(-1)}`
  }
}

function main (): void {
  let failure: string | undefined
  if (findChromium() === undefined && process.env.CHROMIUM_PATH === undefined && process.getuid?.() === 0 && onPath(['apt-get'], process.env) !== undefined) {
    console.log('Installing Chromium for the browser tests …')
    failure = install()
  }
  const found = findChromium()
  if (found !== undefined) console.log(`Chromium: ${found}`)
  else console.log(failure === undefined ? MISSING : `${MISSING} (${failure})`)
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) main()
