//! The token endpoint: tells the Gateway from an application.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use super::form::Form;
use super::gateway::Fault;
use super::refusal::Refusal;
use super::state::Sts;
use super::{agent, gateway};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

pub(super) async fn exchange(State(sts): State<Arc<Sts>>, request: Request<Body>) -> Response {
    match answered(&sts, request).await {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    }
}

async fn answered(sts: &Sts, request: Request<Body>) -> Result<Response, Refusal> {
    let form = Form::read(request).await?;
    for (field, instead) in [
        ("actor_token", "the application's own credentials"),
        ("client_assertion", "client_secret"),
        ("client_assertion_type", "client_secret"),
    ] {
        if form.has(field) {
            let why = format!("{field} is not supported: use {instead}");
            return Err(Refusal::malformed(why));
        }
    }
    let is_gateway = gateway::is_signed(sts, &form)?;
    if form.get("grant_type") != GRANT {
        return Err(Refusal::malformed("unsupported grant_type"));
    }
    let subject = !form.get("subject_token").is_empty();
    match form.get("subject_token_type") {
        "" if subject => {
            let why = "subject_token_type is required with subject_token";
            return Err(Refusal::malformed(why));
        }
        "" => {}
        ACCESS_TOKEN if subject => {}
        ACCESS_TOKEN => {
            let why = "subject_token is required with subject_token_type";
            return Err(Refusal::malformed(why));
        }
        _ => return Err(Refusal::malformed("unsupported subject_token_type")),
    }
    let policy = sts.policy.read().map_err(|_| {
        let why = "the policy file cannot be read";
        Refusal::new(503, "policy_eval_failed", why)
    })?;
    if !is_gateway {
        return Ok(Json(agent::issue(sts, &policy, &form)?).into_response());
    }
    let granted = gateway::exchange(sts, &policy, &form)?;
    sts.granted.fetch_add(1, Ordering::SeqCst);
    Ok(match granted.fault {
        Fault::None => Json(granted.body).into_response(),
        Fault::LateMs(wait) => {
            tokio::time::sleep(Duration::from_millis(wait)).await;
            Json(granted.body).into_response()
        }
        Fault::Never => std::future::pending().await,
        Fault::Oversize => {
            let mut body = granted.body;
            if let Some(members) = body.as_object_mut() {
                members.insert("padding".to_owned(), json!("x".repeat(300 * 1024)));
            }
            Json(body).into_response()
        }
        Fault::NotJson => "<html>ok</html>".into_response(),
        Fault::Redirect => {
            let place = (header::LOCATION, "/oauth/2/token?again");
            (StatusCode::TEMPORARY_REDIRECT, [place]).into_response()
        }
        Fault::Unavailable => {
            Refusal::new(503, "sts_unavailable", "trusted time unavailable").into_response()
        }
    })
}
