import { STATUS_CODES } from 'node:http'
import type { FastifyPluginAsync, FastifyRequest } from 'fastify'
import { FST_SSE_BATCH, FST_SSE_FORBIDDEN, FST_SSE_NOT_FOUND, FST_SSE_OPTION, describe } from '../errors.ts'
import { toError } from '../thrown-value.ts'
import { aFunction, isOptions, validateOptions, type Rule } from '../validate-options.ts'

/** A channel, as this route uses it. */
interface PublishTarget {
  readonly name: string
  publish (event: unknown, options: { key?: string | undefined }): Promise<string>
}

/** A family of channels, as this route uses it. */
interface PublishFamily {
  readonly name: string
  of: (id: string) => PublishTarget
}

/** Options of `app.register(publishRoute, options)`, beside Fastify's own `prefix`. */
export interface PublishRouteOptions {
  /**
   * Decides which requests may publish: the name of the channel is `request.params.channel`. Any result but `true` is
   * answered with 403; an error that it throws is the answer. It has no default.
   */
  authorize: (request: FastifyRequest<{ Params: { channel: string } }>) => boolean | Promise<boolean>
  /** The channels and families to publish to. All others are answered with 404. */
  channels: ReadonlyArray<PublishTarget | PublishFamily>
  /** The greatest number of events in one request. Default 1000. */
  maxEvents?: number | undefined
  /** The greatest number of bytes of a request. Default: the `bodyLimit` of the app. */
  bodyLimit?: number | undefined
}

/** The answer for an event that was not published. */
interface Failure { statusCode: number, code?: string, error: string, message: string }

interface Defaults {
  authorize: PublishRouteOptions['authorize'] | undefined
  channels: PublishRouteOptions['channels'] | undefined
  maxEvents: number
  bodyLimit: number | undefined
}

const positive = (of: string): Rule => ({
  expected: `a whole number of ${of}, 1 or more`,
  fits: value => Number.isSafeInteger(value) && Number(value) >= 1
})
const isTarget = (value: unknown): boolean => {
  if (!isOptions(value) || typeof value.name !== 'string') return false
  return typeof value.publish === 'function' || typeof value.of === 'function'
}
const RULES: Record<keyof Defaults, Rule> = {
  authorize: { ...aFunction, expected: 'a function that returns true for requests that may publish' },
  channels: {
    expected: 'an array of channels and channel families',
    fits: value => Array.isArray(value) && value.every(isTarget)
  },
  maxEvents: positive('events'),
  bodyLimit: positive('bytes')
}
const DEFAULTS: Defaults = { authorize: undefined, channels: undefined, maxEvents: 1_000, bodyLimit: undefined }

// For errors that are the fault of a program elsewhere. Here, the event comes from the client.
const STATUS = new Map<unknown, number>([
  ['FST_SSE_CHANNEL_ENDED', 409],
  ...['EVENT', 'UNKNOWN_EVENT', 'FIELD', 'DATA', 'SERIALIZE', 'PUBLISH', 'OPTION'].map(name =>
    [`FST_SSE_${name}`, 400] as const
  )
])

const event = {
  type: 'object',
  required: ['data'],
  properties: {
    event: { type: 'string', description: "The name of the event. Default 'message'." },
    data: { description: 'The data, as the event map of the channel declares it.' },
    key: { type: 'string', minLength: 1, maxLength: 256, description: 'Publishes the event once per key.' }
  }
}
const id = { type: 'string', description: 'The event id.' }
const SCHEMA = {
  summary: 'Publish events',
  params: { type: 'object', required: ['channel'], properties: { channel: { type: 'string' } } },
  body: { anyOf: [event, { type: 'array', minItems: 1, items: event }] },
  response: {
    200: {
      description: 'All events are published.',
      anyOf: [
        { type: 'object', required: ['id'], properties: { id } },
        { type: 'object', required: ['ids'], properties: { ids: { type: 'array', items: id } } }
      ]
    }
  }
}

/**
 * A Fastify plugin with one route, `POST /:channel`, that publishes an event `{ event?, data, key? }`, or an array of
 * them in its order. It answers `{ id }`, or `{ ids }` for an array. An event that is not published does not stop the
 * others of its array: the status is then that of the first failure, and `results` has an id or an error per event.
 */
export const publishRoute: FastifyPluginAsync<PublishRouteOptions> = async (app, input) => {
  const { prefix: _prefix, logLevel: _level, logSerializers: _serializers, ...options } = input as PublishRouteOptions
    & Record<string, unknown>
  const { authorize, channels, maxEvents, bodyLimit } = validateOptions(options, DEFAULTS, RULES)
  for (const [name, value] of Object.entries({ authorize, channels })) {
    if (value === undefined) throw new FST_SSE_OPTION(name, RULES[name as keyof Defaults].expected, describe(value))
  }

  const find = (name: string): PublishTarget => {
    for (const target of channels!) {
      if (!('of' in target)) {
        if (target.name === name) return target
      } else if (name.startsWith(`${target.name}:`) && name.length > target.name.length + 1) {
        return familyMember(target, name.slice(target.name.length + 1))
      }
    }
    throw new FST_SSE_NOT_FOUND(`channel ${describe(name)} to publish to`)
  }

  app.post<{ Params: { channel: string } }>('/:channel', {
    schema: SCHEMA,
    ...(bodyLimit === undefined ? {} : { bodyLimit }),
    // The channel checks its events, after `authorize`. The schema is for the OpenAPI document: the compilers of an app
    // may refuse it.
    validatorCompiler: () => () => true,
    serializerCompiler: () => JSON.stringify,
    preHandler: async request => {
      if (await authorize!(request) !== true) {
        throw new FST_SSE_FORBIDDEN('the authorize function of the route did not return true')
      }
    }
  }, async ({ params, body }, reply) => {
    const channel = find(params.channel)
    if (!Array.isArray(body)) return { id: await publish(channel, body).catch(rethrow) }
    const events: readonly unknown[] = body
    if (events.length < 1 || events.length > maxEvents) throw new FST_SSE_BATCH(maxEvents, events.length)
    const answers = await Promise.allSettled(events.map(async event => publish(channel, event)))
    const results = answers.map(answer =>
      answer.status === 'fulfilled' ? { id: answer.value } : { error: failureOf(answer.reason) }
    )
    const failed = results.findIndex(result => 'error' in result)
    if (failed === -1) return { ids: results.map(({ id }) => id) }
    const { message, ...failure } = results[failed]!.error!
    reply.code(failure.statusCode)
    const count = results.filter(result => 'error' in result).length
    const text = `${count} of ${results.length} events were not published, first event ${failed + 1}: ${message}`
    return await reply.send({ ...failure, message: text, results })
  })
}

function publish (channel: PublishTarget, body: unknown): Promise<string> {
  if (!isOptions(body)) return channel.publish(body, {})
  const { key, ...event } = body
  return channel.publish(event, { key: key as string | undefined })
}

function familyMember (family: PublishFamily, id: string): PublishTarget {
  try {
    return family.of(id)
  } catch (error) {
    return rethrow(error)
  }
}

/** Throws the error, with the status that it has for a client of this route. */
function rethrow (error: unknown): never {
  const statusCode = STATUS.get((Object(error) as { code?: unknown }).code)
  throw statusCode === undefined ? error : Object.assign(error as Error, { statusCode })
}

function statusOf (code: unknown, statusCode: unknown): number {
  const isFailure = typeof statusCode === 'number' && statusCode >= 400 && statusCode <= 599
  return STATUS.get(code) ?? (isFailure ? statusCode : 500)
}

/** Returns the answer for an error. The message of an error of another package may be private. */
function failureOf (reason: unknown): Failure {
  const cause = toError(reason) as Error & { code?: unknown, statusCode?: unknown }
  const { code, message } = cause
  const statusCode = statusOf(code, cause.statusCode)
  const error = STATUS_CODES[statusCode] ?? 'Error'
  return typeof code === 'string' && code.startsWith('FST_SSE_')
    ? { statusCode, code, error, message }
    : { statusCode, error, message: error }
}
