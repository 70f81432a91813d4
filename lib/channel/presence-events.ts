import type { EventOf } from '../contract/event-types.ts'
import { RESERVED } from '../wire/protocol.ts'
import type { ChannelSettings } from './settings.ts'

const PREFIX = `${RESERVED}presence:`

const member = { type: 'string' } as const

const change = {
  type: 'object',
  properties: { member },
  required: ['member'],
  additionalProperties: false
} as const

/** The events of `channel.presence`, for `schema.sse` of a route. */
export const presenceEvents = {
  /** All members: the first event of a subscriber without a position. */
  members: {
    type: 'object',
    properties: { members: { type: 'array', items: member } },
    required: ['members'],
    additionalProperties: false
  },
  /** A member that was not present on any node. */
  join: change,
  /** A member that is no longer present on any node. */
  leave: change
} as const

export type PresenceEvent = EventOf<typeof presenceEvents>

/** Returns the settings of the presence of a channel. No other channel can have its name. */
export function presenceSettings<S extends ChannelSettings> (settings: S): S {
  return {
    ...settings,
    name: `${PREFIX}${settings.name}`,
    events: presenceEvents,
    start: 'latest',
    slowConsumer: 'disconnect',
    pace: undefined,
    errorEvent: undefined
  }
}

/** Whether a channel with that name is the presence of another one. */
export const isPresence = (name: string): boolean => name.startsWith(PREFIX)

/** Returns the name of the channel with that presence. */
export const presentIn = (presence: string): string => presence.slice(PREFIX.length)
