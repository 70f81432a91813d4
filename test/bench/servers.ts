import { readFileSync } from 'node:fs'
import type { Transport } from './connection.ts'
import { Contestant, type Options } from './contestant.ts'
import { divideCores } from './cores.ts'

const versioned = (name: string, folder = `node_modules/${name}`): string => {
  const { version } = JSON.parse(readFileSync(new URL(`../../${folder}/package.json`, import.meta.url), 'utf8')) as {
    version: string
  }
  return `${name} ${version}`
}

/** The hand-written server, by transport. */
export const PLAIN: Record<Transport, string> = { http: 'node:http', https: 'node:https', h2: 'node:http2' }

/** The compared servers: their files, and their names in tables. */
export const FILES: Record<string, string> = {
  'fastify-typed-sse': versioned('fastify-typed-sse', '.'),
  'node-http': PLAIN.http,
  'fastify-sse': versioned('@fastify/sse'),
  'fastify-sse-v2': versioned('fastify-sse-v2'),
  'better-sse': versioned('better-sse'),
  hono: versioned('hono'),
  h3: versioned('h3')
}

/** The minimal cost of a broadcast on Node. */
export const FLOOR: Record<string, string> = { 'bare-sockets': 'bare sockets' }

/** Pins this process to one core, and all servers to another. */
export const cores = divideCores()

/** Starts servers. Resolves when all listen. */
export async function start (
  folder: 'streams' | 'broadcast',
  files: readonly string[] = Object.keys(FILES),
  options: Omit<Options, 'cores'> = {}
): Promise<Contestant[]> {
  const names: Record<string, string> = { ...FILES, ...FLOOR, 'node-http': PLAIN[options.transport ?? 'http'] }
  const contestants = files.map(file =>
    new Contestant(names[file] ?? file, `${folder}/${file}.js`, { cores, ...options }))
  await Promise.all(contestants.map(contestant => contestant.listening()))
  return contestants
}

export const stop = (contestants: readonly Contestant[]): Promise<unknown> =>
  Promise.all(contestants.map(contestant => contestant.stop()))
