//! groundbreak-coordinator
