// SPDX-License-Identifier: Apache-2.0
// The types that answers are validated against; schemas are generated from the package itself.
import type Anthropic from '@anthropic-ai/sdk';

export type Agent = Anthropic.Beta.BetaManagedAgentsAgent;
export type Session = Anthropic.Beta.BetaManagedAgentsSession;
export type SessionEvent = Anthropic.Beta.Sessions.BetaManagedAgentsSessionEvent;
export type SendEvents = Anthropic.Beta.Sessions.BetaManagedAgentsSendSessionEvents;
export type StreamEvent = Anthropic.Beta.Sessions.BetaManagedAgentsStreamSessionEvents;
export type Environment = Anthropic.Beta.BetaEnvironment;
export type EnvironmentDeleted = Anthropic.Beta.BetaEnvironmentDeleteResponse;
export type Thread = Anthropic.Beta.Sessions.BetaManagedAgentsSessionThread;
export type Resource = Anthropic.Beta.Sessions.BetaManagedAgentsSessionResource;
export type SessionDeleted = Anthropic.Beta.BetaManagedAgentsDeletedSession;
export type ResourceDeleted = Anthropic.Beta.Sessions.BetaManagedAgentsDeleteSessionResource;
export type BetaFile = Anthropic.Beta.BetaFileMetadata;
export type File = Anthropic.FileMetadata;
export type BetaModel = Anthropic.Beta.BetaModelInfo;
export type FileDeleted = Anthropic.Beta.BetaDeletedFile;
