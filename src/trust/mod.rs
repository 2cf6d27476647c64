//! Who is calling, and what the hub signs: keys, certificate authority, TLS, tokens, grants, acts.
