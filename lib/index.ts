export { default } from './server/plugin.ts'
export { typed, type Typed } from './contract/typed.ts'
export { withTexts, type SchemaWithTexts } from './schema/texts.ts'
export { withJsonSchema, type StandardSchema } from './schema/vendor.ts'
export { asData, named } from './source/as-data.ts'
export { EventQueue, type EventQueueOptions } from './source/event-queue.ts'
export { StreamClosedError, type CloseReason, type CloseReport, type OpenReport } from './lifecycle.ts'
export { memoryLog } from './log/memory.ts'
export { FST_SSE_CHANNEL_ENDED } from './errors.ts'
export type {
  EventLog, EventLogFactory, HistoryLimits, LogBatch, LogEntry, LogPosition, LogRecord,
  LogState, LogStatus, RunLog
} from './log/log.ts'
export type { Diagnostics, RejectReason } from './metrics/diagnostics.ts'
export type { HistogramSnapshot } from './metrics/histogram.ts'
export type { OpenStream } from './server/sse-server.ts'
export type { ChannelStats, Stats, StreamCounts } from './metrics/statistics.ts'
export type { AnyChannel, Channel, ChannelPosition } from './channel/channel.ts'
export type { ChannelFamily } from './channel/channel-family.ts'
export type { ChannelErrorContext, ChannelOptions } from './channel/settings.ts'
export type { Run, RunState } from './runs/run.ts'
export type { Runs, RunsOptions, StartedRun } from './runs/runs.ts'
export type { SubscribeOptions, Subscription } from './channel/subscription.ts'
export type { DataOf, EventSchema } from './contract/data-type.ts'
export type {
  AnyEvent, ControlEvent, EventMap, EventOf, PublishEventOf, ReceivedEventOf, SystemEvent,
  SystemEventReceived
} from './contract/event-types.ts'
export type { Limits, RegisterOptions, ServerOptions } from './server/options.ts'
export type { StreamFormat } from './stream/formats.ts'
export type { SseOptions, StreamOptions } from './stream/options.ts'
export type { PublishContext, SourceContext, SseSource } from './source/source.ts'
export type { RouteEvent } from './server/types.ts'
