export { sseTransform, type Transformed, type TransformInput } from './openapi/transform.ts'
export type { OpenApiDocument } from './openapi/components.ts'
