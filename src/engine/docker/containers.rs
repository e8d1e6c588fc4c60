//! Makes, stops and removes the containers of builders, and reads their logs.

use bollard::body_full;
use bollard::container::LogOutput;
use bollard::models::{
    ContainerCreateBody, HostConfig, Mount, MountType, RestartPolicy as PolicyModel,
    RestartPolicyNameEnum, SystemInfoCgroupDriverEnum,
};
use bollard::query_parameters::{
    CreateContainerOptions, InspectContainerOptions, LogsOptions, RemoveContainerOptions,
    RemoveVolumeOptions, StopContainerOptions, UploadToContainerOptions,
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};

use super::{CALL_LIMIT, Docker, DockerError, LOAD_LIMIT, call, check_name};

/// When the Engine starts a container again that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RestartPolicy {
    /// Never.
    Never,
    /// Always.
    Always,
    /// Unless somebody stopped it.
    UnlessStopped,
    /// If it failed, at most this many times; 0 is without a limit.
    OnFailure(u32),
}

/// Limits and placement of a container. `None` leaves the Engine's default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ContainerLimits {
    /// Memory in bytes.
    pub(crate) memory: Option<i64>,
    /// Memory and swap space in bytes; -1 is without a limit.
    pub(crate) memory_swap: Option<i64>,
    /// The CPU time in each period, in microseconds.
    pub(crate) cpu_quota: Option<i64>,
    /// The length of such a period, in microseconds.
    pub(crate) cpu_period: Option<i64>,
    /// The weight beside other containers.
    pub(crate) cpu_shares: Option<i64>,
    /// The CPUs, such as `0-3`.
    pub(crate) cpuset_cpus: Option<String>,
    /// The memory nodes.
    pub(crate) cpuset_mems: Option<String>,
    /// The cgroup in which the container's is.
    pub(crate) cgroup_parent: Option<String>,
}

/// A privileged container, with one volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ContainerSpec<'a> {
    pub(crate) name: &'a str,
    pub(crate) image: &'a str,
    /// The arguments of the image's program.
    pub(crate) arguments: &'a [String],
    /// Variables, as `NAME=value`.
    pub(crate) env: &'a [String],
    /// The network. `None` for the Engine's default.
    pub(crate) network: Option<&'a str>,
    pub(crate) restart: RestartPolicy,
    pub(crate) limits: ContainerLimits,
    /// Whether it has the host's user ids although the Engine gives containers others.
    pub(crate) has_host_users: bool,
    /// The volume, and its place in the container.
    pub(crate) volume: (&'a str, &'a str),
}

/// How the Engine sets up containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ContainerSetup {
    /// Whether the Engine makes cgroups itself, so that a parent may be named.
    pub(crate) makes_cgroups: bool,
    /// Whether containers have other user ids than the host.
    pub(crate) remaps_users: bool,
}

/// The result of [`Docker::create_container`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Creation {
    /// It was made.
    Made,
    /// There is a container of this name: another process made it.
    Exists,
}

impl Docker {
    /// Asks how the Engine sets up containers.
    pub(crate) async fn container_setup(&self) -> Result<ContainerSetup, DockerError> {
        let info = self.api.info().await;
        let info = info.map_err(|source| call("report its state", &self.host, source))?;
        let options = info.security_options.unwrap_or_default();
        Ok(ContainerSetup {
            makes_cgroups: info.cgroup_driver == Some(SystemInfoCgroupDriverEnum::CGROUPFS),
            remaps_users: options
                .iter()
                .any(|option| option.split(',').any(|field| field == "name=userns")),
        })
    }

    /// Makes a container, without starting it.
    pub(crate) async fn create_container(
        &self,
        spec: &ContainerSpec<'_>,
    ) -> Result<Creation, DockerError> {
        check_name(spec.name)?;
        let options = CreateContainerOptions {
            name: Some(spec.name.to_owned()),
            ..CreateContainerOptions::default()
        };
        let api = self.api.clone().with_timeout(CALL_LIMIT);
        match api.create_container(Some(options), body(spec)).await {
            Ok(_) => Ok(Creation::Made),
            Err(source) => {
                let act = format!("make the container `{}`", spec.name);
                match call(act, &self.host, source) {
                    DockerError::Refused { status: 409, .. } => Ok(Creation::Exists),
                    error => Err(error),
                }
            }
        }
    }

    /// Unpacks the archive `tar` into the directory `path` of the container `name`.
    pub(crate) async fn upload(
        &self,
        name: &str,
        path: &str,
        tar: Vec<u8>,
    ) -> Result<(), DockerError> {
        check_name(name)?;
        let options = UploadToContainerOptions {
            path: path.to_owned(),
            ..UploadToContainerOptions::default()
        };
        let api = self.api.clone().with_timeout(CALL_LIMIT);
        let sent = api.upload_to_container(name, Some(options), body_full(tar.into()));
        sent.await.map_err(|source| {
            let act = format!("copy files into the container `{name}`");
            call(act, &self.host, source)
        })
    }

    /// Stops the container `name`: its program gets a signal, and is killed if it does not end. Has no effect if it does
    /// not run.
    pub(crate) async fn stop_container(&self, name: &str) -> Result<(), DockerError> {
        check_name(name)?;
        let api = self.api.clone().with_timeout(CALL_LIMIT);
        let stopped = api.stop_container(name, None::<StopContainerOptions>).await;
        stopped.map_err(|source| call(format!("stop the container `{name}`"), &self.host, source))
    }

    /// Removes the container `name`, also if it runs, and its volumes without a name.
    pub(crate) async fn remove_container(&self, name: &str) -> Result<(), DockerError> {
        check_name(name)?;
        let options = RemoveContainerOptions {
            v: true,
            force: true,
            link: false,
        };
        let api = self.api.clone().with_timeout(CALL_LIMIT);
        let removed = api.remove_container(name, Some(options)).await;
        removed.map_err(|source| call(format!("remove the container `{name}`"), &self.host, source))
    }

    /// Whether the container `name` uses the volume `volume`. `false` if there is no such container.
    pub(crate) async fn has_volume(&self, name: &str, volume: &str) -> Result<bool, DockerError> {
        check_name(name)?;
        let found = self
            .api
            .inspect_container(name, None::<InspectContainerOptions>)
            .await;
        match found {
            Ok(found) => {
                let mounts = found.mounts.unwrap_or_default();
                Ok(mounts
                    .iter()
                    .any(|mount| mount.name.as_deref() == Some(volume)))
            }
            Err(source) => {
                let act = format!("inspect the container `{name}`");
                let error = call(act, &self.host, source);
                if error.is_not_found() {
                    Ok(false)
                } else {
                    Err(error)
                }
            }
        }
    }

    /// Removes the volume `name`. Has no effect if there is none.
    pub(crate) async fn remove_volume(&self, name: &str) -> Result<(), DockerError> {
        check_name(name)?;
        let api = self.api.clone().with_timeout(CALL_LIMIT);
        let removed = api.remove_volume(name, None::<RemoveVolumeOptions>).await;
        match removed {
            Ok(()) => Ok(()),
            Err(source) => {
                let act = format!("remove the volume `{name}`");
                let error = call(act, &self.host, source);
                if error.is_not_found() {
                    Ok(())
                } else {
                    Err(error)
                }
            }
        }
    }

    /// What the container `name` has written to its two output streams: the last `tail` lines, or all. With `follow`, also
    /// what it writes from now on.
    pub(crate) fn logs(
        &self,
        name: &str,
        tail: Option<usize>,
        follow: bool,
    ) -> Result<impl Stream<Item = Result<Bytes, DockerError>>, DockerError> {
        check_name(name)?;
        let options = LogsOptions {
            follow,
            stdout: true,
            stderr: true,
            tail: tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string()),
            ..LogsOptions::default()
        };
        let (host, act) = (
            self.host.clone(),
            format!("send the log of the container `{name}`"),
        );
        let limit = if follow { LOAD_LIMIT } else { CALL_LIMIT };
        let api = self.api.clone().with_timeout(limit);
        let pieces = api.logs(name, Some(options));
        Ok(pieces.map(move |piece| match piece {
            Ok(
                LogOutput::StdErr { message }
                | LogOutput::StdOut { message }
                | LogOutput::StdIn { message }
                | LogOutput::Console { message },
            ) => Ok(message),
            Err(source) => Err(call(act.clone(), &host, source)),
        }))
    }

    /// Whether the Engine has the image `image`.
    pub(crate) async fn has_image(&self, image: &str) -> Result<bool, DockerError> {
        match self.api.inspect_image(image).await {
            Ok(_) => Ok(true),
            Err(source) => {
                let error = call(format!("inspect the image `{image}`"), &self.host, source);
                if error.is_not_found() {
                    Ok(false)
                } else {
                    Err(error)
                }
            }
        }
    }
}

fn body(spec: &ContainerSpec<'_>) -> ContainerCreateBody {
    let (volume, place) = spec.volume;
    let (name, retries) = match spec.restart {
        RestartPolicy::Never => (RestartPolicyNameEnum::NO, None),
        RestartPolicy::Always => (RestartPolicyNameEnum::ALWAYS, None),
        RestartPolicy::UnlessStopped => (RestartPolicyNameEnum::UNLESS_STOPPED, None),
        RestartPolicy::OnFailure(most) => (RestartPolicyNameEnum::ON_FAILURE, Some(most.into())),
    };
    let limits = spec.limits.clone();
    let list = |items: &[String]| (!items.is_empty()).then(|| items.to_vec());
    ContainerCreateBody {
        image: Some(spec.image.to_owned()),
        cmd: list(spec.arguments),
        env: list(spec.env),
        host_config: Some(HostConfig {
            privileged: Some(true),
            // It ends the processes that BuildKit's containers leave behind.
            init: Some(true),
            restart_policy: Some(PolicyModel {
                name: Some(name),
                maximum_retry_count: retries,
            }),
            mounts: Some(vec![Mount {
                typ: Some(MountType::VOLUME),
                source: Some(volume.to_owned()),
                target: Some(place.to_owned()),
                ..Mount::default()
            }]),
            network_mode: spec.network.map(str::to_owned),
            userns_mode: spec.has_host_users.then(|| "host".to_owned()),
            memory: limits.memory,
            memory_swap: limits.memory_swap,
            cpu_quota: limits.cpu_quota,
            cpu_period: limits.cpu_period,
            cpu_shares: limits.cpu_shares,
            cpuset_cpus: limits.cpuset_cpus,
            cpuset_mems: limits.cpuset_mems,
            cgroup_parent: limits.cgroup_parent,
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}
