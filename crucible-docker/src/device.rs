//! Devices of the host for containers, GPUs above all.

/// Devices that are passed on to every container of an engine, as the daemon's own drivers know them.
///
/// What a device can be made to do is between its driver and the program: a layer less. The narrow proxy in
/// `deploy/docker-proxy` refuses them until told otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct DeviceRequest {
    /// The driver: `nvidia`. Empty for whichever has the capabilities.
    pub driver: String,
    /// Which devices: by number or by name.
    pub devices: Devices,
    /// What the devices must be able to: `gpu`.
    pub capabilities: Vec<String>,
}

/// Which devices of a driver.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Devices {
    /// All that there are.
    All,
    /// As many, whichever.
    Count(u32),
    /// Those with these ids.
    Ids(Vec<String>),
}

impl DeviceRequest {
    /// GPUs.
    #[must_use]
    pub fn gpus(devices: Devices) -> Self {
        Self { driver: String::new(), devices, capabilities: vec!["gpu".to_owned()] }
    }

    /// Names the driver.
    #[must_use]
    pub fn with_driver(mut self, driver: impl Into<String>) -> Self {
        self.driver = driver.into();
        self
    }

    /// Adds something that the devices must be able to.
    #[must_use]
    pub fn with_capability(mut self, capability: impl Into<String>) -> Self {
        self.capabilities.push(capability.into());
        self
    }

    pub(crate) fn to_model(&self) -> bollard::models::DeviceRequest {
        let (count, device_ids) = match &self.devices {
            Devices::All => (Some(-1), None),
            Devices::Count(count) => (Some(i64::from(*count)), None),
            Devices::Ids(ids) => (None, Some(ids.clone())),
        };
        bollard::models::DeviceRequest {
            driver: Some(self.driver.clone()),
            count,
            device_ids,
            capabilities: Some(vec![self.capabilities.clone()]),
            options: None,
        }
    }
}
