/** The version of Cascade, as `cascade version` tells it. */
export const VERSION = "0.1.0";
