import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** The environment of a program that npm and tap have not started. */
export const env = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^(npm_|INIT_CWD$|NODE_OPTIONS$|NODE_V8_COVERAGE$)/i.test(name))
)

/** The strictest settings that a project may have. */
export const STRICT = {
  module: 'nodenext',
  target: 'es2022',
  lib: ['es2023', 'dom', 'dom.iterable', 'dom.asynciterable'],
  strict: true,
  esModuleInterop: true,
  exactOptionalPropertyTypes: true,
  skipLibCheck: false,
  types: ['node']
}

/** A test, or another owner that removes a folder at its end. */
interface Owner { teardown: (remove: () => void) => void }

/** Creates an empty folder outside of this repository, whose dependencies a program would find otherwise. */
function emptyFolder (t: Owner): string {
  const folder = mkdtempSync(join(tmpdir(), 'fastify-typed-sse-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Packs a folder as npm publishes it; returns the path of the tarball. */
export async function pack (t: Owner, folder: string): Promise<string> {
  const destination = emptyFolder(t)
  const { stdout } = await run('npm', ['pack', resolve(folder), '--ignore-scripts', '--pack-destination', destination],
    { env })
  return join(destination, stdout.trim().split('\n').at(-1)!)
}

/** A package of this repository by its name; or the name that a program imports, and the package behind it. */
export type Package = string | readonly [name: string, directory: string]

/** A project outside of this repository. It has the packages that it names, as links, and no other. */
export class Project {
  readonly folder: string

  constructor (t: Owner, type: 'module' | 'commonjs' = 'module') {
    this.folder = emptyFolder(t)
    this.write('package.json', JSON.stringify({ type, private: true }))
  }

  /** Creates a project with this package, as npm packs it, its dependencies, Fastify, and more packages. */
  static async create (
    t: Owner,
    tarball: string,
    packages: readonly Package[],
    type?: 'module' | 'commonjs'
  ): Promise<Project> {
    const project = new Project(t, type)
    const installed = join(project.folder, 'node_modules/fastify-typed-sse')
    mkdirSync(installed, { recursive: true })
    await run('tar', ['-xzf', tarball, '-C', installed, '--strip-components=1'])
    const { dependencies } = JSON.parse(readFileSync('package.json', 'utf8')) as { dependencies: object }
    for (const name of ['fastify', '@types/node', ...Object.keys(dependencies), ...packages]) project.#link(name)
    return project
  }

  write (file: string, text: string): void {
    writeFileSync(join(this.folder, file), text)
  }

  /** Compiles files beside their sources. Returns the messages of the compiler, each with its detail lines. */
  async compile (files: readonly string[], options: object = {}, compiler = 'typescript-7'): Promise<string[]> {
    this.write('tsconfig.json', JSON.stringify({ compilerOptions: { ...STRICT, ...options }, files }))
    // tap loads its hooks into each child process by NODE_OPTIONS. The native compiler does not run beside them.
    const args = ['-u', 'NODE_OPTIONS', process.execPath, resolve('node_modules', compiler, 'bin/tsc'), '-p', this.folder,
      '--pretty', 'false']
    // tsc exits with a status of 1 or 2 if there are messages. Another failure has none, and is thrown.
    const { stdout } = await run('env', args, { env, cwd: this.folder })
      .catch((error: { stdout: string }) => {
        if (error.stdout === '') throw error
        return error
      })
    return stdout.split(/\n(?=\S)/).map(message => message.trimEnd()).filter(message => message !== '')
  }

  /** Compiles and runs a program; returns its output. Throws if the compiler has messages. */
  async run (
    file: string,
    text: string,
    { args = [], compiler, ...options }: { args?: readonly string[], compiler?: string, [option: string]: unknown } = {}
  ): Promise<string> {
    this.write(file, text)
    const messages = await this.compile([file], options, compiler)
    if (messages.length > 0) throw new Error(messages.join('\n'))
    const compiled = join(this.folder, file.replace(/ts$/, 'js'))
    return (await run(process.execPath, [compiled, ...args], { env, cwd: this.folder })).stdout
  }

  /** Returns the file of a package that a program of the project imports. Throws if the project has none. */
  resolve (name: string): string {
    return createRequire(join(this.folder, 'program.js')).resolve(name)
  }

  #link (name: Package): void {
    const [as, directory] = typeof name === 'string' ? [name, name] : name
    const link = join(this.folder, 'node_modules', as)
    mkdirSync(dirname(link), { recursive: true })
    symlinkSync(resolve('node_modules', directory), link)
  }
}
