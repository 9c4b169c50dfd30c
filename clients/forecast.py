"""forecast.py - asks a running recurd for a sunspot forecast through tritonclient.

    pip install 'tritonclient[http]' numpy
    python forecast.py [127.0.0.1:8000]
"""

import sys

import numpy as np
import tritonclient.http as triton

MONTHS = [114, 141.3, 135.5, 156.4, 127.5, 90, 143.8, 158.7, 167.3, 162.4, 137.5, 150.1,
          111.2, 163.6, 153.8, 122, 82.2, 110.4, 106.1, 107.6, 118.8, 94.7, 98.1, 127]


def main():
    client = triton.InferenceServerClient(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:8000")
    if not client.is_model_ready("sunspots"):
        sys.exit("the model 'sunspots' is not ready")

    series = np.array(MONTHS, dtype=np.float32).reshape(1, -1, 1)  # [batch, time, 1]
    tensor = triton.InferInput("series", series.shape, "FP32")
    tensor.set_data_from_numpy(series, binary_data=True)  # raw bytes, not JSON numbers
    wanted = [triton.InferRequestedOutput("forecast", binary_data=True)]

    forecast = client.infer("sunspots", [tensor], outputs=wanted).as_numpy("forecast")
    for month, value in enumerate(forecast[0], 1):
        print(f"month {month}: {value:.1f}")

    # async_infer sends without waiting; the server runs what waits together as one batch.
    calls = [client.async_infer("sunspots", [tensor], outputs=wanted) for _ in range(4)]
    same = all(np.array_equal(call.get_result().as_numpy("forecast"), forecast) for call in calls)
    print("four more, at the same time:", "the same bits" if same else "different")
    client.close()


if __name__ == "__main__":
    main()
