import type { ChannelFamily } from '../channel/channel-family.ts'
import type { Channel } from '../channel/channel.ts'
import { Channels } from '../channel/channels.ts'
import { logRule, type ChannelLogger, type ChannelOptions } from '../channel/settings.ts'
import { compileContract, freeContract, type Contract } from '../contract/contract.ts'
import type { EventMap } from '../contract/event-types.ts'
import { FST_SSE_OPTION, describe } from '../errors.ts'
import type { EventLogFactory } from '../log/log.ts'
import { Statistics } from '../metrics/statistics.ts'
import type { AjvOptions } from '../schema/ajv.ts'
import { loadTypeBoxes } from '../schema/packages.ts'
import { schemaCompiler } from '../schema/schema.ts'
import { isOptions, validateOptions, type Rule } from '../validate-options.ts'

/** Options of `publisher(eventLog, options)`. */
export interface PublisherOptions {
  /** Receives the errors of promises that a program may ignore: a logger of pino, or `console`, the default. */
  log?: ChannelLogger | undefined
  /** The schemas that the server adds with `app.addSchema`, for event maps that refer to them. */
  schemas?: ReadonlyArray<{ readonly $id: string }> | undefined
  /** The value of `Fastify({ ajv })` on the server: formats, keywords and plugins of Ajv. */
  ajv?: AjvOptions | undefined
}

/** The channels of a process without a server, such as a worker or a script. */
export interface Publisher {
  /**
   * Returns the channel of that name, as `app.sse.channel` does. With the options of the server, its events are checked
   * and serialized as on the server. Throws as `app.sse.channel` does.
   */
  channel: <const M extends EventMap = EventMap>(name: string, options?: ChannelOptions<M>) => Channel<M>
  /** Returns a family of channels, as `app.sse.channelFamily` does. */
  channelFamily: <const M extends EventMap = EventMap>(name: string, options?: ChannelOptions<M>) => ChannelFamily<M>
  /**
   * Waits for the calls of `publish` and `end` that are under way, then stops the sources of `publishFrom` and releases
   * all logs. The channels stay open for the servers. Later calls reject with FST_SSE_CLOSING.
   */
  close: () => Promise<void>
}

interface ResolvedOptions {
  log: ChannelLogger
  schemas: ReadonlyArray<{ readonly $id: string }>
  ajv: AjvOptions
}

const DEFAULTS: ResolvedOptions = { log: console, schemas: [], ajv: {} }
const hasId = (schema: unknown): boolean => isOptions(schema) && typeof schema.$id === 'string'
const RULES: Record<keyof PublisherOptions, Rule> = {
  log: {
    expected: 'a logger with the methods error and warn',
    fits: value => isOptions(value) && typeof value.error === 'function' && typeof value.warn === 'function'
  },
  schemas: {
    expected: 'an array of schemas, each with an $id',
    fits: value => Array.isArray(value) && value.every(hasId)
  },
  ajv: { expected: 'the options of Fastify({ ajv })', fits: isOptions }
}

/**
 * Returns the channels of an event log for a process without a server: `await publisher(redisLog(redis))`. It needs no
 * Fastify. Rejects with FST_SSE_OPTION for a bad log or option.
 */
export async function publisher (eventLog: EventLogFactory, options: PublisherOptions = {}): Promise<Publisher> {
  if (!logRule.fits(eventLog)) throw new FST_SSE_OPTION('eventLog', logRule.expected, describe(eventLog))
  const { log, schemas, ajv } = validateOptions(options, DEFAULTS, RULES)
  await loadTypeBoxes()
  const compiler = schemaCompiler(Object.fromEntries(schemas.map(schema => [schema.$id, schema])), ajv)
  const contracts = new WeakMap<EventMap, Contract>()
  const calls = new Set<Promise<unknown>>()
  const channels = new Channels({
    eventLog,
    log,
    statistics: new Statistics(),
    compile: (events, place) => {
      if (events === undefined) return freeContract
      const contract = contracts.get(events) ?? compileContract(events, place, compiler)
      contracts.set(events, contract)
      return contract
    },
    onCall: call => {
      calls.add(call)
      const forget = (): void => { calls.delete(call) }
      call.then(forget, forget)
    }
  })
  const close = async (): Promise<void> => {
    channels.seal()
    await Promise.allSettled(calls)
    await channels.release()
    channels.close()
    await channels.closeLogs()
  }
  let closed: Promise<void> | undefined
  return {
    channel: (name, options) => channels.channel(name, options),
    channelFamily: (name, options) => channels.family(name, options),
    close: async () => await (closed ??= close())
  }
}
