// The one file that calls prometheus-cpp's server, which throws.
#include "server/coordinator/metrics.h"

#include <exception>

#include <prometheus/collectable.h>
#include <prometheus/exposer.h>

#include "server/coordinator/metric_families.h"
#include "vdi/base/log.h"

namespace capstan::coordinator {
namespace {

class Collector final : public prometheus::Collectable {
 public:
  explicit Collector(MetricsSources sources) : sources_(std::move(sources)) {}
  std::vector<prometheus::MetricFamily> Collect() const override {
    return CollectFamilies(sources_);
  }

 private:
  const MetricsSources sources_;
};

class PrometheusEndpoint final : public MetricsEndpoint {
 public:
  PrometheusEndpoint(const std::string& address, const MetricsSources& sources)
      : collector_(std::make_shared<Collector>(sources)), exposer_(address, /*num_threads=*/1) {
    exposer_.RegisterCollectable(collector_);
  }

 private:
  const std::shared_ptr<Collector> collector_;
  prometheus::Exposer exposer_;  // last: its threads end before the collector does
};

}  // namespace

Result<std::unique_ptr<MetricsEndpoint>> MetricsEndpoint::Listen(const std::string& address,
                                                                 const MetricsSources& sources) {
  try {
    auto endpoint = std::make_unique<PrometheusEndpoint>(address, sources);
    CAPSTAN_LOG(kInfo, "metrics begin address={}", address);
    return std::unique_ptr<MetricsEndpoint>(std::move(endpoint));
  } catch (const std::exception& failure) {
    return Error(Code::kUnavailable, "unable to listen on '{}' for metrics: {}", address,
                 failure.what())
        .WithHint("another program may have the port; metrics_listen names another");
  }
}

}  // namespace capstan::coordinator
