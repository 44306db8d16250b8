//! groundbreak-proto
