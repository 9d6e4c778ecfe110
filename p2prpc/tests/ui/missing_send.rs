use std::rc::Rc;

use p2prpc::p2p_service;

#[p2p_service]
pub trait Service {
    async fn method(&self) -> u8;
    async fn default(&self) -> u8 { //~ default => future cannot be sent between threads safely
        let number = Rc::new(1);
        self.method().await + *number
    }
}

pub struct Implementation;

impl Service for Implementation {
    async fn method(&self) -> u8 { //~ u8 => future cannot be sent between threads safely
        let number = Rc::new(1);
        std::future::ready(()).await;
        *number
    }
}
