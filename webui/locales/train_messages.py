"""What the Train panel says."""

from __future__ import annotations

from .words import alert


ALERTS = {
    "dba_preset_paper": alert(
        "Set: DBA as in the paper, full fine-tuning, learning rate {rate} linear to zero, 1 epoch, global batch 8.",
        "Установлено: DBA как в статье, полное дообучение, скорость обучения {rate} линейно до нуля, 1 эпоха, общий "
        "батч 8.",
        "已设置：论文中的 DBA、全参数微调、学习率 {rate} 线性降到零、1 轮、全局批量 8。",
        "설정됨: 논문의 DBA, 전체 미세조정, 학습률 {rate}에서 0까지 선형, 1에포크, 전체 배치 8.",
        "設定：論文どおりの DBA、全パラメータ、学習率 {rate} から線形にゼロへ、1 エポック、全体バッチ 8。",
    ),
    "dba_preset_annealing": alert(
        "Set: no DBA, the same small learning rate ({rate}, linear to zero) and batch; a record is written to compare.",
        "Установлено: без DBA, та же малая скорость обучения ({rate}, линейно до нуля) и батч; запись для сравнения.",
        "已设置：不用 DBA，相同的小学习率（{rate}，线性到零）和批量；写入记录以便比较。",
        "설정됨: DBA 없음, 같은 작은 학습률({rate}, 0까지 선형)과 배치. 비교용 기록을 씁니다.",
        "設定：DBA なし、同じ小さな学習率（{rate}、線形にゼロへ）とバッチ。比較用に記録します。",
    ),
    "dba_preset_direct": alert(
        "Set: no DBA, an ordinary learning rate ({rate}, linear to zero); a record is written to compare.",
        "Установлено: без DBA, обычная скорость обучения ({rate}, линейно до нуля); запись для сравнения.",
        "已设置：不用 DBA，普通学习率（{rate}，线性到零）；写入记录以便比较。",
        "설정됨: DBA 없음, 일반적인 학습률({rate}, 0까지 선형). 비교용 기록을 씁니다.",
        "設定：DBA なし、通常の学習率（{rate}、線形にゼロへ）。比較用に記録します。",
    ),
    "dba_preset_elastic": alert(
        "Set: elastic restoration at an ordinary learning rate ({rate}). Needs an anchor with a curvature.",
        "Установлено: эластичное восстановление с обычной скоростью обучения ({rate}). Нужен якорь с кривизной.",
        "已设置：以普通学习率（{rate}）进行弹性恢复。需要带曲率的锚点。",
        "설정됨: 일반 학습률({rate})의 탄성 복원. 곡률이 있는 앵커가 필요합니다.",
        "設定：通常の学習率（{rate}）での弾性復元。曲率付きのアンカーが必要です。",
    ),
    "dba_no_model": alert(
        "Choose a model at the top of the page.",
        "Выберите модель вверху страницы.",
        "请在页面顶部选择模型。",
        "페이지 위쪽에서 모델을 선택하세요.",
        "ページ上部でモデルを選んでください。",
    ),
    "dba_need_full": alert(
        "DBA needs the finetuning method full or freeze, found {found}: an anchor holds gradients of the model's own "
        "tensors and matches no adapter.",
        "Для DBA нужен метод дообучения full или freeze, выбран {found}: якорь хранит градиенты собственных тензоров "
        "модели и не подходит к адаптерам.",
        "DBA 需要微调方法 full 或 freeze，当前为 {found}：锚点保存的是模型自身张量的梯度，与适配器不匹配。",
        "DBA에는 full 또는 freeze가 필요하지만 {found}입니다: 앵커는 모델 자체 텐서의 그래디언트라 어댑터와 맞지 않습니다.",
        "DBA には full または freeze が必要です（現在 {found}）。アンカーはモデル自身のテンソルの勾配で、アダプタには"
        "合いません。",
    ),
    "dba_no_ppo": alert(
        "DBA does not work with PPO, which has a training loop of its own. Use SFT, DPO or KTO.",
        "DBA не работает с PPO: у него собственный цикл обучения. Используйте SFT, DPO или KTO.",
        "DBA 不支持 PPO（其训练循环独立）。请使用 SFT、DPO 或 KTO。",
        "DBA는 자체 훈련 루프를 쓰는 PPO와 함께 쓸 수 없습니다. SFT, DPO, KTO를 사용하세요.",
        "DBA は独自の学習ループを持つ PPO では使えません。SFT、DPO、KTO を使ってください。",
    ),
    "dba_no_deepspeed": alert(
        "DBA does not work with DeepSpeed yet. Set the DeepSpeed stage to none.",
        "DBA пока не работает с DeepSpeed. Установите стадию DeepSpeed в none.",
        "DBA 暂不支持 DeepSpeed。请将 DeepSpeed stage 设为 none。",
        "DBA는 아직 DeepSpeed와 함께 쓸 수 없습니다. DeepSpeed 단계를 none으로 설정하세요.",
        "DBA はまだ DeepSpeed に対応していません。DeepSpeed stage を none にしてください。",
    ),
    "dba_no_badam": alert(
        "DBA does not work with BAdam, which trains one block at a time.",
        "DBA не работает с BAdam, который обучает по одному блоку.",
        "DBA 不支持逐块训练的 BAdam。",
        "DBA는 한 번에 한 블록씩 훈련하는 BAdam과 함께 쓸 수 없습니다.",
        "DBA は 1 ブロックずつ学習する BAdam では使えません。",
    ),
    "dba_secret": alert(
        "`{name}` does not belong into the extra arguments, which are written to files: set it in the environment of "
        "the board (HF_TOKEN).",
        "`{name}` не место в дополнительных аргументах, они записываются в файлы: задайте его в окружении доски "
        "(HF_TOKEN).",
        "`{name}` 不应放在额外参数中（会写入文件）：请在面板的环境变量中设置（HF_TOKEN）。",
        "`{name}`은(는) 파일에 기록되는 추가 인수에 두지 마세요. 보드의 환경 변수(HF_TOKEN)로 설정하세요.",
        "`{name}` は追加引数に書かないでください（ファイルに残ります）。ボードの環境変数（HF_TOKEN）で設定してください。",
    ),
    "dba_no_anchor": alert(
        "Choose an anchor, or make one in the tab Anchor.",
        "Выберите якорь или постройте его на вкладке «Якорь».",
        "请选择锚点，或在“锚点”标签页中制作。",
        "앵커를 선택하거나 앵커 탭에서 만드세요.",
        "アンカーを選ぶか、アンカータブで作ってください。",
    ),
    "dba_anchor_is_output": alert(
        "The anchor and the output folder are the same; the training would overwrite the anchor.",
        "Папка якоря и папка вывода совпадают; обучение перезапишет якорь.",
        "锚点与输出文件夹相同，训练会覆盖锚点。",
        "앵커와 출력 폴더가 같아 훈련이 앵커를 덮어쓰게 됩니다.",
        "アンカーと出力フォルダが同じで、学習がアンカーを上書きしてしまいます。",
    ),
    "dba_anchor_missing": alert(
        "There is no anchor at {path}. Choose one that is there, or name general data under “Advanced” to make it.",
        "По пути {path} нет якоря. Выберите существующий или укажите общие данные в «Дополнительно», чтобы построить.",
        "{path} 处没有锚点。请选择已有的，或在“高级”中指定通用数据来制作。",
        "{path}에 앵커가 없습니다. 있는 것을 고르거나 “고급”에서 만들 일반 데이터를 지정하세요.",
        "{path} にアンカーがありません。既存のものを選ぶか、「詳細」で一般データを指定して作ってください。",
    ),
    "dba_anchor_none": alert(
        "The folder {path} holds no anchor (there is no anchor_config.json).",
        "В папке {path} нет якоря (нет файла anchor_config.json).",
        "文件夹 {path} 中没有锚点（缺少 anchor_config.json）。",
        "{path} 폴더에 앵커가 없습니다(anchor_config.json 없음).",
        "フォルダ {path} にアンカーがありません（anchor_config.json がない）。",
    ),
    "dba_anchor_broken": alert(
        "The anchor cannot be read: {reason}",
        "Якорь не читается: {reason}",
        "无法读取锚点：{reason}",
        "앵커를 읽을 수 없습니다: {reason}",
        "アンカーを読めません：{reason}",
    ),
    "dba_anchor_other": alert(
        "This anchor belongs to another model, {base}: {reason}",
        "Этот якорь от другой модели, {base}: {reason}",
        "该锚点属于另一个模型 {base}：{reason}",
        "이 앵커는 다른 모델({base})의 것입니다: {reason}",
        "このアンカーは別のモデル {base} のものです：{reason}",
    ),
    "dba_anchor_flat": alert(
        "The variant {variant} needs an anchor with a curvature, and this one has none. Make it again with "
        "`dba_anchor_curvature: true`.",
        "Варианту {variant} нужен якорь с кривизной, а у этого её нет. Постройте его заново с "
        "`dba_anchor_curvature: true`.",
        "变体 {variant} 需要带曲率的锚点，而该锚点没有。请用 `dba_anchor_curvature: true` 重新制作。",
        "{variant} 변형에는 곡률이 있는 앵커가 필요하지만 이 앵커에는 없습니다. `dba_anchor_curvature: true`로 다시 만드세요.",
        "{variant} には曲率付きのアンカーが必要ですが、これにはありません。`dba_anchor_curvature: true` で作り直して"
        "ください。",
    ),
    "dba_bad_output": alert(
        "The output folder {path} cannot be used. {reason}",
        "Папку вывода {path} использовать нельзя. {reason}",
        "无法使用输出文件夹 {path}。{reason}",
        "출력 폴더 {path}를 사용할 수 없습니다. {reason}",
        "出力フォルダ {path} は使えません。{reason}",
    ),
    "dba_number_least": alert(
        "{label}: must be at least {low}, found {found}.",
        "{label}: не меньше {low}, указано {found}.",
        "{label}：须不小于 {low}，当前为 {found}。",
        "{label}: {low} 이상이어야 하지만 {found}입니다.",
        "{label}：{low} 以上にしてください（現在 {found}）。",
    ),
    "dba_number_whole": alert(
        "{label}: must be a whole number, at least {low}, found {found}.",
        "{label}: целое число не меньше {low}, указано {found}.",
        "{label}：须为不小于 {low} 的整数，当前为 {found}。",
        "{label}: {low} 이상의 정수여야 하지만 {found}입니다.",
        "{label}：{low} 以上の整数にしてください（現在 {found}）。",
    ),
    "dba_number_above": alert(
        "{label}: must be above {low}, found {found}.",
        "{label}: больше {low}, указано {found}.",
        "{label}：须大于 {low}，当前为 {found}。",
        "{label}: {low}보다 커야 하지만 {found}입니다.",
        "{label}：{low} より大きくしてください（現在 {found}）。",
    ),
    "dba_data_no_info": alert(
        "{path} is not there or cannot be read; it names the data sets.",
        "Файл {path} отсутствует или не читается; в нём перечислены наборы данных.",
        "{path} 不存在或无法读取；其中列出数据集。",
        "{path}가 없거나 읽을 수 없습니다. 데이터셋 목록 파일입니다.",
        "{path} がないか読めません。データセットの一覧です。",
    ),
    "dba_data_unknown": alert(
        "There is no data set {name} in {path}.",
        "Набора данных {name} нет в {path}.",
        "{path} 中没有数据集 {name}。",
        "{path}에 데이터셋 {name}이(가) 없습니다.",
        "{path} にデータセット {name} がありません。",
    ),
    "dba_data_broken": alert(
        "The data set {name} cannot be used: {reason}",
        "Набор данных {name} использовать нельзя: {reason}",
        "无法使用数据集 {name}：{reason}",
        "데이터셋 {name}을(를) 사용할 수 없습니다: {reason}",
        "データセット {name} は使えません：{reason}",
    ),
    "dba_live_none": alert(
        "No training to show yet. Start one here or in the Train tab.",
        "Пока нечего показывать. Запустите обучение здесь или на вкладке Train.",
        "暂无训练。请在此处或 Train 标签页开始。",
        "아직 표시할 훈련이 없습니다. 여기 또는 Train 탭에서 시작하세요.",
        "表示する学習はまだありません。ここか Train タブで開始してください。",
    ),
    "dba_live_starting": alert(
        "Training in {folder} is starting …",
        "Обучение в {folder} запускается …",
        "{folder} 中的训练正在启动 …",
        "{folder}에서 훈련을 시작하는 중 …",
        "{folder} で学習を開始しています …",
    ),
    "dba_live_running": alert(
        "Training in {folder}: step {step} of {total}.",
        "Идёт обучение в {folder}: шаг {step} из {total}.",
        "正在 {folder} 中训练：第 {step} 步，共 {total} 步。",
        "{folder}에서 훈련 중: {total} 중 {step} 스텝.",
        "{folder} で学習中：{step} / {total} ステップ。",
    ),
    "dba_live_done": alert(
        "{folder}: step {step} of {total}.",
        "{folder}: шаг {step} из {total}.",
        "{folder}：第 {step} 步，共 {total} 步。",
        "{folder}: {total} 중 {step} 스텝.",
        "{folder}：{step} / {total} ステップ。",
    ),
    "dba_live_resume": alert(
        "{checkpoint} is kept: Start with the same output folder goes on from it.",
        "{checkpoint} сохранён: запуск с той же папкой вывода продолжит с него.",
        "{checkpoint} 已保存：使用相同的输出目录开始即可继续。",
        "{checkpoint}이(가) 남아 있습니다. 같은 출력 폴더로 시작하면 이어서 진행합니다.",
        "{checkpoint} が残っています。同じ出力先で開始すると続きから進みます。",
    ),
    "dba_curve_loss": alert("Loss", "Функция потерь", "损失", "손실", "損失"),
    "dba_curve_boost": alert("Anchor's weight γ", "Вес якоря γ", "锚点权重 γ", "앵커 가중치 γ", "アンカーの重み γ"),
    "dba_curve_held": alert(
        "Predicted divergence on general data",
        "Предсказанное расхождение на общих данных",
        "通用数据上的预测散度",
        "일반 데이터의 예측 발산",
        "一般データでの予測ダイバージェンス",
    ),
    "dba_curve_similarity": alert(
        "Similarity with the anchor", "Сходство с якорем", "与锚点的相似度", "앵커와의 유사도", "アンカーとの類似度"
    ),
    "dba_curve_correction": alert("Correction λ", "Коррекция λ", "校正 λ", "보정 λ", "補正 λ"),
    "dba_curve_gauge": alert("Gauge", "Датчик", "实时测量", "측정", "ゲージ"),
    "dba_curve_empty": alert("no values yet", "значений пока нет", "暂无数值", "아직 값이 없음", "まだ値がありません"),
    "dba_axis_step": alert("step", "шаг", "步", "스텝", "ステップ"),
    "dba_axis_nats": alert("nats per token", "нат на токен", "nat / 词元", "nat / 토큰", "nat / トークン"),
    "dba_axis_kl": alert("KL, nats", "KL, нат", "KL，nat", "KL, nat", "KL、nat"),
    "dba_axis_none": alert("no unit", "без единиц", "无单位", "단위 없음", "単位なし"),
    "dba_axis_times": alert("times the rate", "раз к скорости", "学习率倍数", "학습률 배수", "学習率の倍率"),
    "dba_axis_percent": alert("%", "%", "%", "%", "%"),
}
