//! What the end-to-end tests share: the project's dev S3 server, and surveys run as a user runs them.

pub mod fixture;
pub mod s3;
pub mod survey_run;
