//! Policy decisions: hub roles and usage rules by casbin behind two functions, vocabulary, manifests, checks.
