//! What the end-to-end tests share: the project's dev S3 server, and surveys run as a user runs them.

pub mod cluster;
pub mod far;
pub mod figures;
pub mod fixture;
pub mod pipe;
pub mod plan;
pub mod pretend;
pub mod proxy;
pub mod s3;
pub mod survey_run;
