/* eslint-disable */
export * from "./gql";
export * from "./graphql";
export * from "./websocket";
