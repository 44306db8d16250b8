//! groundbreak-report
