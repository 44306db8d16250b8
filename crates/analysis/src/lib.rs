//! groundbreak-analysis
