//! No devices; queues are tested against a fake one beside their code.

use crate::virtio::transport::Transport;
use std::sync::Arc;

pub fn find() -> Vec<Arc<dyn Transport>> {
    Vec::new()
}
