export { chat, type Chat, type ChatBody, type ChatContext, type ChatMessage, type ChatOptions } from './chat.ts'
export {
  uiMessageErrorHandler, uiMessageEvents, uiMessageHeaders, uiMessageOptions, uiMessages, type UIMessageChunk,
  type UIMessageSource, type UIMessagesOptions
} from './ui-messages.ts'
