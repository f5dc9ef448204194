/* Which sources the library is built of: one of others must not be called. */

const char *opsin_sources(void) { return OPSIN_SOURCES; }
