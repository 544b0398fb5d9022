//! Requests for devices of the host, such as GPUs.

/// Devices that the daemon's drivers pass to every container of an engine.
///
/// The program can attack the device's driver, which no layer protects. The proxy in
/// `deploy/docker-proxy` refuses devices by default.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct DeviceRequest {
    /// The driver, such as `nvidia`. Empty selects any driver with the capabilities.
    pub driver: String,
    /// The selected devices.
    pub devices: Devices,
    /// The required capabilities of the devices, such as `gpu`.
    pub capabilities: Vec<String>,
}

/// The selected devices of a driver.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Devices {
    /// All devices.
    All,
    /// Any devices, this many.
    Count(u32),
    /// The devices with these ids.
    Ids(Vec<String>),
}

impl DeviceRequest {
    /// Creates a request for GPUs.
    #[must_use]
    pub fn gpus(devices: Devices) -> Self {
        Self { driver: String::new(), devices, capabilities: vec!["gpu".to_owned()] }
    }

    /// Sets the driver.
    #[must_use]
    pub fn with_driver(mut self, driver: impl Into<String>) -> Self {
        self.driver = driver.into();
        self
    }

    /// Adds a required capability.
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
