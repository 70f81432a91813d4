export { mcp, type McpEndpoint } from './mcp-endpoint.ts'
export type { McpOptions } from './mcp-options.ts'
export {
  mcpEventStores, type McpEventStore, type McpEventStores, type McpEventStoresOptions
} from './mcp-event-store.ts'
export { mcpEvents, type JsonRpcId, type JsonRpcMessage } from './mcp-messages.ts'
export type { McpAuthInfo, McpMessageInfo, McpTransport } from './mcp-session.ts'
