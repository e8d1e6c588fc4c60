//! Decides about the sources of a build, which the daemon asks for each of them.
//!
//! Only the messages are here. Who decides is the [`SourceJudge`] that is given.

use std::sync::Arc;

use rbake_proto::gateway::{
    ChecksumAlgo, ChecksumRequest, ChecksumResponse, ResolveSourceGitRequest,
    ResolveSourceHttpRequest, ResolveSourceImageRequest, ResolveSourceMetaRequest,
    ResolveSourceMetaResponse,
};
use rbake_proto::pb;
use rbake_proto::policysession::policy_verifier_server::{self, PolicyVerifierServer};
use rbake_proto::policysession::{
    CheckPolicyRequest, CheckPolicyResponse, DecisionResponse, DenyMessage, check_policy_response,
};
use rbake_proto::sourcepolicy::PolicyAction;
use tonic::{Request, Response, Status};

use super::{Attachable, SessionServices};
use crate::engine::capability;
use crate::engine::connection::MESSAGE_LIMIT;
use crate::types::Platform;
use crate::types::build_source::{
    AttestationBlob, BuildSource, DigestAlgorithm, SourceAnswer, SourceAttestations, SourceCommit,
    SourceDecision, SourceDownload, SourceFacts, SourceImage, SourceQuestion, SuffixedDigest,
};

/// Decides about sources. Everything in its questions is from the daemon.
#[tonic::async_trait]
pub(crate) trait SourceJudge: Send + Sync {
    /// Whether the source of `facts` may be used, or what else must be known of it first.
    ///
    /// # Errors
    /// It cannot be decided, for this reason. The build fails.
    async fn judge(&self, facts: SourceFacts) -> Result<SourceAnswer, String>;
}

/// The service with which a session answers for `judge`.
pub(crate) struct PolicyService(pub(crate) Arc<dyn SourceJudge>);

impl Attachable for PolicyService {
    fn methods(&self) -> &[&'static str] {
        &["/moby.buildkit.v1.sourcepolicy.policysession.PolicyVerifier/CheckPolicy"]
    }

    fn mount(&self, services: &mut SessionServices) {
        let server = PolicyVerifierServer::new(Verifier(Arc::clone(&self.0)));
        // Attestations and commits come with the questions.
        services.add(server.max_decoding_message_size(MESSAGE_LIMIT));
    }
}

struct Verifier(Arc<dyn SourceJudge>);

#[tonic::async_trait]
impl policy_verifier_server::PolicyVerifier for Verifier {
    async fn check_policy(
        &self,
        request: Request<CheckPolicyRequest>,
    ) -> Result<Response<CheckPolicyResponse>, Status> {
        let request = request.into_inner();
        let known = request.source.unwrap_or_default();
        let source = known.source.clone();
        let source = source.ok_or_else(|| Status::invalid_argument("there is no source"))?;
        let platform = request.platform;
        let facts = facts(known, platform.as_ref())?;
        let answer = self.0.judge(facts).await;
        let answer = answer.map_err(Status::failed_precondition)?;
        let result = match answer {
            SourceAnswer::Ask(question) => {
                check_policy_response::Result::Request(asked(question, source, platform))
            }
            SourceAnswer::Decided(decision) => {
                check_policy_response::Result::Decision(decided(decision))
            }
        };
        let result = Some(result);
        Ok(Response::new(CheckPolicyResponse { result }))
    }
}

fn facts(
    known: ResolveSourceMetaResponse,
    platform: Option<&pb::Platform>,
) -> Result<SourceFacts, Status> {
    let parsed = |from| {
        let platform = capability::platform(from);
        platform.ok_or_else(|| Status::invalid_argument("the platform is not valid"))
    };
    let source = known.source.unwrap_or_default();
    Ok(SourceFacts {
        source: BuildSource {
            identifier: source.identifier,
            attrs: source.attrs,
        },
        platform: platform.map(parsed).transpose()?,
        image: known.image.map(|image| SourceImage {
            digest: image.digest,
            config: Some(image.config).filter(|config| !config.is_empty()),
            attestations: image.attestation_chain.map(|chain| SourceAttestations {
                manifest: chain.attestation_manifest,
                signatures: chain.signature_manifests,
                blobs: chain
                    .blobs
                    .into_iter()
                    .map(|(digest, blob)| {
                        let annotations = blob.descriptor.unwrap_or_default().annotations;
                        let data = blob.data;
                        (digest, AttestationBlob { annotations, data })
                    })
                    .collect(),
            }),
        }),
        git: known.git.map(|git| SourceCommit {
            checksum: git.checksum,
            reference: git.r#ref,
            commit_checksum: git.commit_checksum,
            commit: git.commit_object,
            tag: git.tag_object,
        }),
        http: known.http.map(|http| SourceDownload {
            checksum: http.checksum,
            suffixed: http
                .checksum_response
                .and_then(suffixed)
                .into_iter()
                .collect(),
        }),
    })
}

/// `None` if the answer has no digest.
fn suffixed(answer: ChecksumResponse) -> Option<SuffixedDigest> {
    Some(SuffixedDigest {
        suffix: answer.suffix,
        digest: answer.digest.parse().ok()?,
    })
}

/// The request for what `question` asks about `source`. The daemon refuses a question about another source.
fn asked(
    question: SourceQuestion,
    source: pb::SourceOp,
    platform: Option<pb::Platform>,
) -> ResolveSourceMetaRequest {
    ResolveSourceMetaRequest {
        source: Some(source),
        platform: question.platform.as_ref().map(wire_platform).or(platform),
        image: question.image.map(|image| ResolveSourceImageRequest {
            no_config: !image.config,
            attestation_chain: image.attestations,
            resolve_attestations: image.predicates,
        }),
        git: question.git.map(|git| ResolveSourceGitRequest {
            return_object: git.objects,
        }),
        http: question.http.map(|http| ResolveSourceHttpRequest {
            checksum_request: Some(ChecksumRequest {
                algo: match http.algorithm {
                    DigestAlgorithm::Sha256 => ChecksumAlgo::Sha256.into(),
                    DigestAlgorithm::Sha384 => ChecksumAlgo::Sha384.into(),
                    DigestAlgorithm::Sha512 => ChecksumAlgo::Sha512.into(),
                },
                suffix: http.suffix,
            }),
        }),
        ..ResolveSourceMetaRequest::default()
    }
}

fn wire_platform(platform: &Platform) -> pb::Platform {
    pb::Platform {
        os: platform.os.clone(),
        architecture: platform.architecture.clone(),
        variant: platform.variant.clone(),
        ..pb::Platform::default()
    }
}

fn decided(decision: SourceDecision) -> DecisionResponse {
    let (action, messages, update) = match decision {
        SourceDecision::Allow => (PolicyAction::Allow, Vec::new(), None),
        SourceDecision::Deny(messages) => (PolicyAction::Deny, messages, None),
        SourceDecision::Convert(source) => {
            let source = pb::SourceOp {
                identifier: source.identifier,
                attrs: source.attrs,
            };
            (PolicyAction::Convert, Vec::new(), Some(source))
        }
    };
    DecisionResponse {
        action: action.into(),
        deny_messages: messages
            .into_iter()
            .map(|message| DenyMessage { message })
            .collect(),
        update,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rbake_proto::policysession::policy_verifier_client::PolicyVerifierClient;

    /// Asks for everything once, and then denies.
    struct Curious;

    #[tonic::async_trait]
    impl SourceJudge for Curious {
        async fn judge(&self, facts: SourceFacts) -> Result<SourceAnswer, String> {
            if facts.source.identifier.is_empty() {
                return Err("nothing is named".to_owned());
            }
            Ok(match facts.image {
                None => {
                    let mut question = SourceQuestion::default();
                    question.image.get_or_insert_default().attestations = true;
                    SourceAnswer::Ask(question)
                }
                Some(_) => SourceAnswer::Decided(SourceDecision::Deny(vec!["no".to_owned()])),
            })
        }
    }

    #[tokio::test]
    async fn questions_are_about_the_same_source() {
        let channel = super::super::peer::channel(&PolicyService(Arc::new(Curious))).await;
        let mut client = PolicyVerifierClient::new(channel);
        let source = pb::SourceOp {
            identifier: "docker-image://a".to_owned(),
            ..pb::SourceOp::default()
        };
        let platform = pb::Platform {
            os: "linux".to_owned(),
            architecture: "amd64".to_owned(),
            os_version: "1".to_owned(),
            ..pb::Platform::default()
        };
        let mut request = CheckPolicyRequest {
            platform: Some(platform.clone()),
            source: Some(ResolveSourceMetaResponse {
                source: Some(source.clone()),
                ..ResolveSourceMetaResponse::default()
            }),
            ..CheckPolicyRequest::default()
        };
        let answer = client.check_policy(request.clone()).await.unwrap();
        let Some(check_policy_response::Result::Request(asked)) = answer.into_inner().result else {
            panic!("no question")
        };
        assert_eq!(
            (asked.source, asked.platform),
            (Some(source), Some(platform))
        );
        let image = asked.image.unwrap();
        assert!(image.no_config && image.attestation_chain);
        request.source.as_mut().unwrap().image =
            Some(rbake_proto::gateway::ResolveSourceImageResponse::default());
        let answer = client.check_policy(request.clone()).await.unwrap();
        let Some(check_policy_response::Result::Decision(decision)) = answer.into_inner().result
        else {
            panic!("no decision")
        };
        assert_eq!(decision.action(), PolicyAction::Deny);
        assert_eq!(decision.deny_messages[0].message, "no");
        for broken in [
            CheckPolicyRequest::default(),
            CheckPolicyRequest {
                platform: Some(pb::Platform::default()),
                ..request
            },
        ] {
            client.check_policy(broken).await.unwrap_err();
        }
    }
}
