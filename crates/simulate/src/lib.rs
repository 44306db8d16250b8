//! groundbreak-simulate
