//! Makes tonic's client and server, without a `.proto` file and without `protoc`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "tonic")]
    {
        use tonic_build::manual::{Builder, Method, Service};
        let envelope = "crate::peers::tonic::Envelope";
        let echo = Method::builder()
            .name("echo")
            .route_name("Echo")
            .input_type(envelope)
            .output_type(envelope)
            .codec_path("tonic_prost::ProstCodec")
            .build();
        let items = Method::builder()
            .name("items")
            .route_name("Items")
            .input_type("crate::streams::tonic::Asked")
            .output_type("crate::streams::tonic::Item")
            .codec_path("tonic_prost::ProstCodec")
            .server_streaming()
            .build();
        Builder::new().compile(&[
            Service::builder().name("EchoService").package("bench").method(echo).build(),
            Service::builder().name("Numbers").package("bench").method(items).build(),
        ]);
    }
}
