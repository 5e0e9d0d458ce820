//! The protocol of server functions: the framework's own `Http`, except that the browser's half is compiled once for all
//! functions instead of once for each.

use super::json::{self, Said};
use crate::model::AppError;
use crate::model::address::at;
use http::Method;
use leptos::server_fn::client::Client;
use leptos::server_fn::codec::{Encoding, FromReq, FromRes, IntoReq, IntoRes, Json};
use leptos::server_fn::error::{FromServerFnError, ServerFnErrorErr};
use leptos::server_fn::response::ClientRes;
use leptos::server_fn::server::Server;
use leptos::server_fn::{ContentType, Http, Protocol, ServerFn};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;
use std::pin::Pin;

/// Arguments in the encoding `E`, answers in JSON.
pub struct Wire<E>(PhantomData<E>);

impl<E, I, O, C, S> Protocol<I, O, C, S, AppError> for Wire<E>
where
    E: Encoding,
    C: Client<AppError>,
    S: Server<AppError>,
    I: IntoReq<E, C::Request, AppError> + FromReq<E, S::Request, AppError> + Send,
    O: IntoRes<Json, S::Response, AppError>
        + FromRes<Json, C::Response, AppError>
        + Serialize
        + DeserializeOwned
        + Send,
{
    const METHOD: Method = E::METHOD;

    async fn run_server<F, Fut>(request: S::Request, server_fn: F) -> Result<S::Response, AppError>
    where
        F: Fn(I) -> Fut + Send,
        Fut: Future<Output = Result<O, AppError>> + Send,
    {
        <Http<E, Json> as Protocol<I, O, C, S, AppError>>::run_server(request, server_fn).await
    }

    fn run_client(path: &str, input: I) -> impl Future<Output = Result<O, AppError>> + Send {
        let sent = input.into_req(&at(path), Json::CONTENT_TYPE).map(send::<C>);
        async move { decode(&sent?.await?) }
    }
}

/// Sends a request and returns the body of the answer. Boxed, so that not every function's future contains a copy.
fn send<C: Client<AppError>>(
    request: C::Request,
) -> Pin<Box<dyn Future<Output = Result<String, AppError>> + Send>> {
    Box::pin(async move {
        let response = C::send(request).await?;
        let failed = (400..600).contains(&response.status());
        let text = response.try_into_string().await?;
        if failed { Err(decode(&text).unwrap_or_else(|error| error)) } else { Ok(text) }
    })
}

/// One of our server functions, as the struct of its arguments.
pub trait Call:
    ServerFn<Error = AppError, InputStreamError = AppError, OutputStreamError = AppError> + Serialize + 'static
{
}

impl<F> Call for F where
    F: ServerFn<Error = AppError, InputStreamError = AppError, OutputStreamError = AppError>
        + Serialize
        + 'static
{
}

/// A pending answer; one type for all functions.
pub type Saying = Pin<Box<dyn Future<Output = Said> + Send>>;

/// Calls a server function whose arguments are encoded with `E`, and returns the JSON of its answer.
pub fn said_by<E, F>(asked: F) -> Saying
where
    F: Call + IntoReq<E, <F::Client as Client<AppError>>::Request, AppError>,
    F::Output: Serialize,
{
    #[cfg(feature = "ssr")]
    return Box::pin(async move {
        let value = asked.run_body().await?;
        serde_json::to_string(&value).map_err(|error| AppError::Failed(error.to_string()))
    });
    #[cfg(not(feature = "ssr"))]
    {
        let sent = asked.into_req(&at(F::PATH), Json::CONTENT_TYPE).map(send::<F::Client>);
        Box::pin(async move { sent?.await })
    }
}

/// Decodes the JSON of an answer.
pub fn decode<T: DeserializeOwned>(text: &str) -> Result<T, AppError> {
    json::read(text)
        .map_err(|error| AppError::from_server_fn_error(ServerFnErrorErr::Deserialization(error.to_string())))
}
